//! What errors of SQLite mean to a journal.

use rusqlite::{ErrorCode, ffi};

use crate::journal::JournalError;

/// Turns an error of SQLite into ours: what a sound database cannot answer is damage (rule 17).
pub(super) fn failed(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> JournalError {
    move |error| {
        if is_damage(&error) {
            return JournalError::Damaged { run: None, seq: None, what: error.to_string() };
        }
        if is_full(&error) {
            return JournalError::Full { doing };
        }
        JournalError::Store { doing, source: Box::new(error) }
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    match error {
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..) => true,
        _ => matches!(
            error.sqlite_error_code(),
            // `Unknown` is an error in SQL: a table or column that our statements know is gone.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::TooBig)
        ),
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    // The index of the WAL could not grow: SQLite does not say why, and there is no other reason.
    matches!(code, Some(ffi::SQLITE_FULL | ffi::SQLITE_IOERR_SHMSIZE))
}

/// Whether another process's transaction was in the way.
pub(super) fn is_busy(error: &JournalError) -> bool {
    matches!(code(error), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed))
}

/// Whether a reader may have met files that come and go.
pub(super) fn is_passing(error: &JournalError) -> bool {
    is_busy(error) || matches!(code(error), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn code(error: &JournalError) -> Option<ErrorCode> {
    let JournalError::Store { source, .. } = error else { return None };
    source.downcast_ref::<rusqlite::Error>()?.sqlite_error_code()
}
