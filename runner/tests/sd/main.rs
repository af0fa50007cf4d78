//! Stable Diffusion, held to diffusers' own numbers on small models of every family.

mod folders;
mod parity;
mod requests;
mod small;
