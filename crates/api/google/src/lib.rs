//! Google's common types, as contracts use them. Their comments are Google's.

pub mod r#type {
    //! `google.type`.

    include!(concat!(env!("OUT_DIR"), "/google.r#type.rs"));
}

#[expect(clippy::doc_overindented_list_items, reason = "Google's comments are kept as they are")]
pub mod rpc {
    //! `google.rpc`.

    include!(concat!(env!("OUT_DIR"), "/google.rpc.rs"));
}
