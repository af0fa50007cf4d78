//! What both ways to the tree say about files.

use std::io;
use std::path::Path;

use super::TransportError;

pub(super) fn file_error(action: &str, path: &Path, source: io::Error) -> TransportError {
    TransportError::File { action: format!("{action} {}", path.display()), source }
}

pub(super) fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file; links in the tree are not followed")
}

pub(super) fn too_long(limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes"))
}
