//! The page in a real Chromium, against the real server and the real runner on this machine. The camera shows a photograph
//! that moves a little, and the tests look at the pixels that come back.

mod access;
mod browser;
mod budget;
mod camera;
mod clip;
mod connection;
mod crowd;
mod driver;
mod flow;
mod form;
mod jobs;
mod kiosk;
mod language;
mod looks;
#[path = "../models.rs"]
mod models;
mod painting;
mod picture;
mod progress;
mod site;
mod sources;
mod stage;
mod switching;
