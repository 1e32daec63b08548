//! Integration tests: one binary, rooms as modules.

#[cfg(test)]
mod net;
#[cfg(test)]
mod pg;
#[cfg(test)]
mod support;
