//! The analysis from outside: YAML in, rows out. Each trap of the field is a test here, and each allow has its deny.

#[cfg(test)]
mod differences;
#[cfg(test)]
mod exposed;
#[cfg(test)]
mod intent;
#[cfg(test)]
mod random;
#[cfg(test)]
mod rendered;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tiers;
#[cfg(test)]
mod traps;
