//! The server as its visitors, its operator and its files see it: each test builds the real application on a free port
//! with a tree of its own, and the real runner paints.

mod answer;
mod bounds;
mod command_line;
mod diffusion;
mod events;
mod failures;
mod fields;
mod guard;
mod housekeeping;
mod info;
mod job_pages;
mod lists;
#[path = "../../../tests/models.rs"]
mod models;
mod ownership;
mod painting;
mod pictures;
mod runners;
mod site;
mod tree;
mod uploads;
mod visitors;
mod warm;
