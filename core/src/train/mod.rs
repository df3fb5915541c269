//! Networks and their training.
