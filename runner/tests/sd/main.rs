//! Stable Diffusion, held to diffusers' own numbers on small models of every family.

mod copy;
mod folders;
mod kept;
mod parity;
mod requests;
mod small;
mod variants;
