//! How much is tested.

/// `all`, or `few` where `SLOW_PROCESSOR` is set: one that is emulated takes minutes for what others do in a second.
pub(crate) fn choose<T>(all: T, few: T) -> T {
    if std::env::var_os("SLOW_PROCESSOR").is_some() { few } else { all }
}
