#![no_std]
#![forbid(unsafe_code)]
//! The CUDA backend's room. Nothing is built here yet: train on the CPU with `polychron-cpu`.
