//! `[page]`: what the page offers besides what the models say of themselves.

use serde::{Deserialize, Serialize};

/// `[page]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Page {
    /// Prompts to choose from, for models that take one.
    pub prompts: Vec<Preset>,
}

/// A prompt by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What is written on its button.
    pub name: String,
    /// The same in German; empty for `name`.
    #[serde(default)]
    pub name_de: String,
    /// What the picture shows.
    pub prompt: String,
    /// What it does not show.
    #[serde(default)]
    pub negative_prompt: String,
}

const DEFAULTS: [(&str, &str, &str); 10] = [
    (
        "Old master",
        "Alter Meister",
        "oil painting by Rembrandt, portrait, warm candle light, dark background, visible brush strokes",
    ),
    (
        "Van Gogh",
        "Van Gogh",
        "painting by Vincent van Gogh, portrait, swirling brush strokes, starry night, vivid blue and yellow",
    ),
    ("Watercolour", "Aquarell", "loose watercolour portrait, soft washes, white paper, delicate colours"),
    ("Pencil", "Bleistift", "detailed pencil drawing, portrait, fine hatching, graphite on paper"),
    ("Comic", "Comic", "comic book portrait, bold ink lines, flat colours, halftone dots"),
    (
        "Storybook",
        "Bilderbuch",
        "children's storybook illustration, gouache, friendly, warm colours, a forest in the background",
    ),
    ("Marble", "Marmor", "classical marble statue, bust in a museum, soft daylight"),
    ("Clay figure", "Knetfigur", "clay animation character, plasticine, finger prints, soft studio light"),
    (
        "Astronaut",
        "Astronaut",
        "portrait of an astronaut in a space suit, reflections in the visor, nebula in the background, cinematic light",
    ),
    ("Neon city", "Neonstadt", "cyberpunk portrait, neon lights of a city at night, rain, pink and cyan glow"),
];

impl Default for Page {
    fn default() -> Self {
        let preset = |(name, name_de, prompt): (&str, &str, &str)| Preset {
            name: name.to_owned(),
            name_de: name_de.to_owned(),
            prompt: prompt.to_owned(),
            negative_prompt: "blurry, deformed, text, watermark".to_owned(),
        };
        Self { prompts: DEFAULTS.map(preset).to_vec() }
    }
}
