//! What the targets of model files share.

pub mod file;
pub mod kind;
pub mod network;
pub mod reference;
