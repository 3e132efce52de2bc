//! A table of feature rows as one NumPy file (`.npy`, format version 1.0, a structured array), which `numpy.load` maps into
//! memory as it is. Columns: `transaction_id`, `user_id`, `kind` (text), `timestamp` (event time, ms), `arrived_at` (ms),
//! `amount_minor`, `label` (1 is fraud), `late`, then the features, one `f4` column each under its own name.
//!
//! The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{self, Seek, SeekFrom, Write};

use centinela_domain::{FeatureVector, Transaction};

use crate::fold::Row;

const HEADER_BYTES: usize = 4096;
const ID_BYTES: usize = 24;
const KIND_BYTES: usize = 16;

/// Writes rows; [`MatrixWriter::finish`] completes the header, without which the file cannot be read.
#[derive(Debug)]
pub struct MatrixWriter<W> {
    out: W,
    rows: u64,
}

/// What is known of a row besides its features.
#[derive(Clone, Copy, Debug)]
pub struct Truth<'a> {
    /// The kind of transaction; at most 16 bytes are kept.
    pub kind: &'a str,
    /// Whether it is fraud.
    pub fraud: bool,
    /// When it arrived, in milliseconds.
    pub arrived_at_ms: i64,
}

impl<W: Write + Seek> MatrixWriter<W> {
    /// Starts the file at the writer's beginning.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&header(0)?)?;
        Ok(Self { out, rows: 0 })
    }

    /// Appends a row.
    pub fn write(&mut self, transaction: &Transaction, row: &Row, truth: Truth<'_>) -> io::Result<()> {
        let out = &mut self.out;
        text::<ID_BYTES>(out, transaction.id.as_str())?;
        text::<ID_BYTES>(out, transaction.user_id.as_str())?;
        text::<KIND_BYTES>(out, truth.kind)?;
        out.write_all(&transaction.occurred_at.0.to_le_bytes())?;
        out.write_all(&truth.arrived_at_ms.to_le_bytes())?;
        out.write_all(&transaction.amount.minor().to_le_bytes())?;
        out.write_all(&[u8::from(truth.fraud), u8::from(row.late)])?;
        for value in row.features.0 {
            out.write_all(&value.to_le_bytes())?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes the number of rows into the header and returns it.
    pub fn finish(mut self) -> io::Result<u64> {
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header(self.rows)?)?;
        self.out.flush()?;
        Ok(self.rows)
    }
}

fn text<const BYTES: usize>(out: &mut impl Write, value: &str) -> io::Result<()> {
    let mut field = [0; BYTES];
    let kept = value.len().min(BYTES);
    field[..kept].copy_from_slice(&value.as_bytes()[..kept]);
    out.write_all(&field)
}

fn header(rows: u64) -> io::Result<Vec<u8>> {
    let mut columns = format!(
        "('transaction_id', '|S{ID_BYTES}'), ('user_id', '|S{ID_BYTES}'), ('kind', '|S{KIND_BYTES}'), ('timestamp', '<i8'), \
         ('arrived_at', '<i8'), ('amount_minor', '<u8'), ('label', '|u1'), ('late', '|u1')"
    );
    for name in FeatureVector::NAMES {
        columns += &format!(", ('{name}', '<f4')");
    }
    let description = format!("{{'descr': [{columns}], 'fortran_order': False, 'shape': ({rows},), }}");
    let padding = HEADER_BYTES
        .checked_sub(10 + description.len() + 1)
        .ok_or_else(|| io::Error::other(format!("the columns' names need more than {HEADER_BYTES} bytes of header")))?;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(((HEADER_BYTES - 10) as u16).to_le_bytes());
    bytes.extend(description.as_bytes());
    bytes.extend(std::iter::repeat_n(b' ', padding));
    bytes.push(b'\n');
    Ok(bytes)
}
