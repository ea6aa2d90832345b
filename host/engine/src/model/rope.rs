//! Rotary position embeddings as configurations state them, in the spelling of transformers 4 and of 5.

use serde_json::Value;

use super::ModelError;
use super::fields::Fields;
use crate::nn::Rope;
use crate::weights::Weights;

/// Factors of GGUF files that divide each frequency, as llama.cpp writes Llama 3's scaling.
const FACTORS: &str = "rope_freqs.weight";

/// How frequencies are stretched for contexts longer than the model was trained on.
enum Scaling {
    None,
    /// All positions divided alike (Chen et al., 2023, arXiv:2306.15595).
    Linear {
        factor: f64,
    },
    /// Low frequencies divided, high ones kept, a ramp between (Llama 3.1: transformers' `_compute_llama3_parameters`).
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        context: f64,
    },
    /// The same with a ramp over pairs, and all angles' lengths stretched (Peng et al., 2023, arXiv:2309.00071; transformers'
    /// `_compute_yarn_parameters`).
    Yarn {
        factor: f64,
        fast: f64,
        slow: f64,
        context: f64,
        stretch: f64,
    },
}

/// What a configuration says of rotary embeddings.
pub(super) struct RopeConfig {
    theta: f64,
    scaling: Scaling,
}

impl RopeConfig {
    /// Takes `rope_parameters`, or `rope_theta` and `rope_scaling`, of a model that reads `tokens_max` tokens.
    ///
    /// # Errors
    /// When a scaling is not implemented, or a number is missing or makes no sense.
    pub(super) fn read(fields: &mut Fields, tokens_max: usize) -> Result<RopeConfig, ModelError> {
        let outside: Option<f64> = fields.optional("rope_theta")?;
        let inner = match fields.inner("rope_parameters", "rope_parameters.")? {
            Some(inner) => Some(inner),
            None => fields.inner("rope_scaling", "rope_scaling.")?,
        };
        let Some(mut inner) = inner else { return RopeConfig::new(outside, Scaling::None) };
        let theta = inner.optional("rope_theta")?.or(outside);
        let kind = inner.optional::<String>("rope_type")?;
        let kind = kind.or(inner.optional("type")?).unwrap_or_else(|| "default".into());
        inner.only("partial_rotary_factor", 1.0)?;
        let scaling = match kind.as_str() {
            "default" => Scaling::None,
            "linear" => Scaling::Linear { factor: inner.required("factor")? },
            "llama3" => Scaling::Llama3 {
                factor: inner.required("factor")?,
                low: inner.required("low_freq_factor")?,
                high: inner.required("high_freq_factor")?,
                context: inner.required("original_max_position_embeddings")?,
            },
            "yarn" => read_yarn(&mut inner, tokens_max)?,
            other => {
                let supported = "default, linear, llama3 and yarn";
                return Err(ModelError::Unsupported(format!("rope_type = {other}; supported are {supported}")));
            }
        };
        inner.finish()?;
        RopeConfig::new(theta, scaling)
    }

    fn new(theta: Option<f64>, scaling: Scaling) -> Result<RopeConfig, ModelError> {
        let theta = theta.unwrap_or(10_000.0);
        let is_sane = theta > 0.0
            && match scaling {
                Scaling::None => true,
                Scaling::Linear { factor } => factor > 0.0,
                Scaling::Llama3 { factor, low, high, context } => factor > 0.0 && low > 0.0 && high > low && context > 0.0,
                Scaling::Yarn { factor, fast, slow, context, stretch } => {
                    [factor, fast, slow, context, stretch].iter().all(|number| *number > 0.0) && theta != 1.0
                }
            };
        is_sane.then_some(RopeConfig { theta, scaling }).ok_or_else(|| {
            ModelError::Config("rotary embeddings need positive numbers, and high_freq_factor above low_freq_factor".into())
        })
    }

    /// The layer for heads of this size.
    ///
    /// # Errors
    /// When the size is odd, or the weights' own factors are of another number.
    pub(super) fn layer(&self, head_dim: usize, weights: &Weights) -> Result<Rope, ModelError> {
        if !head_dim.is_multiple_of(2) {
            return Err(ModelError::Config(format!("head_dim = {head_dim} must be even for rotary embeddings")));
        }
        let pairs = head_dim / 2;
        let frequency = |pair: usize| self.theta.powf(-(2.0 * pair as f64) / head_dim as f64);
        let scaled = |pair: usize| match self.scaling {
            Scaling::Yarn { .. } => self.scaled_by_pair(frequency(pair), pair, head_dim),
            _ => self.scaled(frequency(pair)),
        };
        let mut frequencies: Vec<f32> = (0..pairs).map(|pair| scaled(pair) as f32).collect();
        if weights.has(FACTORS) {
            let factors = weights.values(FACTORS, &[pairs])?;
            frequencies.iter_mut().zip(factors).for_each(|(frequency, factor)| *frequency /= factor);
        }
        let stretch = if let Scaling::Yarn { stretch, .. } = self.scaling { stretch as f32 } else { 1.0 };
        Ok(Rope::new(frequencies, stretch))
    }

    fn scaled(&self, frequency: f64) -> f64 {
        match self.scaling {
            Scaling::None | Scaling::Yarn { .. } => frequency,
            Scaling::Linear { factor } => frequency / factor,
            Scaling::Llama3 { factor, low, high, context } => {
                let turns = context * frequency / std::f64::consts::TAU;
                let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                frequency * (smooth + (1.0 - smooth) / factor)
            }
        }
    }
}

impl RopeConfig {
    /// YaRN's frequency of a pair of numbers.
    fn scaled_by_pair(&self, frequency: f64, pair: usize, head_dim: usize) -> f64 {
        let Scaling::Yarn { factor, fast, slow, context, .. } = self.scaling else { return frequency };
        let dim = head_dim as f64;
        // The pair that turns so often over the context.
        let pair_of = |turns: f64| dim * (context / (turns * std::f64::consts::TAU)).ln() / (2.0 * self.theta.ln());
        let low = pair_of(fast).floor().max(0.0);
        let high = pair_of(slow).ceil().min(dim - 1.0);
        let high = if low == high { high + 0.001 } else { high };
        let ramp = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
        frequency * (1.0 - ramp + ramp / factor)
    }
}

fn read_yarn(inner: &mut Fields, tokens_max: usize) -> Result<Scaling, ModelError> {
    let factor: f64 = inner.required("factor")?;
    inner.only("mscale", Value::Null)?;
    inner.only("mscale_all_dim", Value::Null)?;
    inner.only("truncate", true)?;
    let stretch = inner.optional("attention_factor")?;
    Ok(Scaling::Yarn {
        factor,
        fast: inner.optional("beta_fast")?.unwrap_or(32.0),
        slow: inner.optional("beta_slow")?.unwrap_or(1.0),
        context: inner.optional("original_max_position_embeddings")?.unwrap_or(tokens_max as f64),
        stretch: stretch.unwrap_or(if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(config: Value) -> Result<RopeConfig, ModelError> {
        let mut fields = Fields::new(&config)?;
        let rope = RopeConfig::read(&mut fields, 4096)?;
        fields.finish()?;
        Ok(rope)
    }

    #[test]
    fn both_spellings_give_the_same() {
        let old = read(json!({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}})).expect("reads");
        let new = read(json!({"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 2.0}})).expect("reads");
        assert_eq!(old.scaled(1.0), 0.5);
        assert_eq!((old.theta, old.scaled(0.3)), (new.theta, new.scaled(0.3)));
    }

    #[test]
    fn llama3_keeps_high_frequencies_and_divides_low_ones() {
        let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
        let rope = read(json!({"rope_theta": 5e5, "rope_scaling": scaling})).expect("reads");
        assert_eq!(rope.scaled(1.0), 1.0);
        assert_eq!(rope.scaled(1e-5), 1e-5 / 8.0);
    }

    #[test]
    fn what_is_not_implemented_is_named() {
        for (config, name) in [
            (json!({"rope_scaling": {"rope_type": "longrope", "factor": 4.0}}), "longrope"),
            (json!({"rope_scaling": {"rope_type": "linear", "factor": 4.0, "beta_fast": 1}}), "beta_fast"),
            (json!({"rope_scaling": {"rope_type": "linear"}}), "factor"),
            (json!({"rope_parameters": {"partial_rotary_factor": 0.5}}), "partial_rotary_factor"),
        ] {
            let error = read(config).err().expect("refused");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
