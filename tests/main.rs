//! Integration tests: one binary, rooms as modules.

mod netns;
