//! What must not outlive this process, however it ends: process groups that it started and directories that it made.
//!
//! A process that is killed by SIGKILL cannot clean up. So a shell waits at the other end of a pipe: the operating system closes the
//! pipe with the process, and the shell then kills the groups that were left and removes the directories. Linux's
//! `PR_SET_PDEATHSIG` would not do: it follows the thread that started a process and not its process, it reaches no grandchildren, and
//! other systems lack it. The shell is in a group of its own, so that neither Ctrl-C nor a closed terminal ends it first.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Reads `guard GROUP`, `release GROUP` and `directory PATH`, a line each, until the pipe is closed.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
groups=' '
while read -r verb what; do
  case $verb in
    guard) groups="$groups$what " ;;
    release) groups="${groups%% $what *} ${groups#* $what }" ;;
    directory) set -- "$@" "$what" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
[ $# -eq 0 ] || rm -rf -- "$@"
"#;

/// The shell and its pipe, from the first use on. The pipe is closed by the end of the process and by nothing else.
static SHELL: Mutex<Option<Child>> = Mutex::new(None);

/// A guarded process group. Dropping it releases the group, which has to happen before its leader is reaped: its number may belong to
/// somebody else from then on.
#[derive(Debug)]
#[must_use = "the group is guarded as long as this lives"]
pub struct Ward(u32);

impl Drop for Ward {
    fn drop(&mut self) {
        tell(&format!("release {}\n", self.0));
    }
}

/// Sees to it that the group with this number ends with this process at the latest.
pub fn guard_group(group: u32) -> Ward {
    tell(&format!("guard {group}\n"));
    Ward(group)
}

/// Sees to it that the directory is gone when this process is. A name with a line break is left alone.
pub fn guard_directory(directory: &Path) {
    match directory.to_str() {
        Some(name) if !name.contains('\n') => tell(&format!("directory {name}\n")),
        _ => tracing::warn!(?directory, "a directory with such a name is left behind when this process is killed"),
    }
}

fn tell(line: &str) {
    let mut shell = SHELL.lock().unwrap_or_else(PoisonError::into_inner);
    let told = match &mut *shell {
        Some(shell) => write(shell, line),
        none => start().and_then(|started| write(none.insert(started), line)),
    };
    if let Err(error) = told {
        tracing::warn!(%error, "nobody sees to what this process would leave behind if it were killed");
    }
}

fn start() -> io::Result<Child> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", SCRIPT, "centinela-warden"]).current_dir("/").env_clear().env("PATH", "/usr/bin:/bin");
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn()
}

fn write(shell: &mut Child, line: &str) -> io::Result<()> {
    shell.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(line.as_bytes())
}
