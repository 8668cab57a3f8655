//! The store through its public surface, on real files: what is acknowledged stays, what is refused leaves nothing.

#[cfg(test)]
mod access;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod once;
#[cfg(test)]
mod open;
#[cfg(test)]
mod support;
#[cfg(test)]
mod work;
#[cfg(test)]
mod write;
