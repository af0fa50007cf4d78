//! Bounds that some configurations put on the predicted picture.

use super::super::config::Config;
use super::Result;

#[derive(Clone, Copy, Debug)]
pub(super) enum Clip {
    /// None.
    None,
    /// `clip_sample`: to this distance from 0.
    Range(f32),
    /// `thresholding`: Saharia et al., "Photorealistic text-to-image diffusion models" (2022).
    Dynamic {
        /// Which quantile of the magnitudes becomes 1.
        quantile: f64,
        /// What that quantile is at most.
        most: f32,
    },
}

impl Clip {
    /// Reads `thresholding` and `clip_sample`, whose default differs between the classes.
    pub(super) fn read(config: &Config, clips: bool) -> Result<Self> {
        let dynamic = Self::dynamic(config)?;
        if matches!(dynamic, Self::None) && config.or("clip_sample", clips)? {
            return Ok(Self::Range(config.or("clip_sample_range", 1.0)?));
        }
        Ok(dynamic)
    }

    /// Reads `thresholding` alone.
    pub(super) fn dynamic(config: &Config) -> Result<Self> {
        if !config.or("thresholding", false)? {
            return Ok(Self::None);
        }
        let quantile = config.or("dynamic_thresholding_ratio", 0.995)?;
        Ok(Self::Dynamic { quantile, most: config.or("sample_max_value", 1.0)? })
    }

    pub(super) fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn apply(self, mut picture: Vec<f32>) -> Vec<f32> {
        match self {
            Self::None => {}
            Self::Range(range) => picture.iter_mut().for_each(|x| *x = x.max(-range).min(range)),
            Self::Dynamic { quantile, most } => {
                let mut sizes: Vec<f32> = picture.iter().map(|x| x.abs()).collect();
                sizes.sort_by(f32::total_cmp);
                let rank = quantile * (sizes.len() - 1) as f64;
                let (low, high) = (sizes[rank.floor() as usize], sizes[rank.ceil() as usize]);
                let bound = low + (high - low) * (rank.fract() as f32);
                let bound = bound.max(1.0).min(most);
                picture.iter_mut().for_each(|x| *x = x.max(-bound).min(bound) / bound);
            }
        }
        picture
    }
}
