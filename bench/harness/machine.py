"""The machine and the commit that figures are of."""

import os
import pathlib
import platform
import subprocess

# More than half of a processor: too much for figures that anybody should quote.
BUSY_ABOVE = 0.5


def busy():
    """A line about a machine that does something else already; none for a quiet one."""
    load = os.getloadavg()[0]
    if load <= BUSY_ABOVE:
        return None
    return f"this machine is busy (load average {load:.1f}), so the figures are good for ratios only"


def line():
    try:
        names = [entry for entry in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if entry.startswith("model name")]
        processor = names[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        processor = "unknown processor"
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{processor}, {os.cpu_count()} cores, {memory_mb} MB of memory, {system}"


def commit():
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(asked, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
