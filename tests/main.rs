//! Integration tests: one binary, rooms as modules.

#[cfg(test)]
mod netns;
