//! Identity and tokens through their public surface: real files, real handshakes over loopback, each allow beside
//! its deny. `cfg(test)` on each module tells clippy that helpers, too, are tests and may panic.

#[cfg(test)]
mod certificates;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod ids;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod web;
