//! The contract of the product feed, all of commerce that the showcase domain knows: package `sekat.catalog.feed.v1`, generated from `proto/`, with its policy.

#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "tonic's generated code silences lints in its own modules"
)]
pub mod v1 {
    //! Messages, clients and servers of `sekat.catalog.feed.v1`. A classified field prints its class and never its value.

    include!(concat!(env!("OUT_DIR"), "/sekat.catalog.feed.v1.rs"));
}

include!(concat!(env!("OUT_DIR"), "/policy.rs"));
