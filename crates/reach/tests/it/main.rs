//! The analysis from outside: YAML in, rows out. Each trap of the field is a test here, and each allow has its deny.

mod differences;
mod intent;
mod random;
mod support;
mod tiers;
mod traps;
