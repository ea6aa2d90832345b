//! How keys of well-known services look.

/// What begins so and goes on with so many characters of an alphabet.
pub(super) struct Format {
    pub(super) prefix: &'static str,
    pub(super) alphabet: Alphabet,
    pub(super) length_min: usize,
    pub(super) length_max: usize,
}

/// Which characters a key is made of.
#[derive(Clone, Copy)]
pub(super) enum Alphabet {
    /// `A-Z` and `2-7`, as base32 has them, and the other digits.
    UpperDigits,
    /// Letters and digits.
    Letters,
    /// Letters, digits, `-` and `_`.
    Url,
    /// Those of `Url`, and `/`, `+`, `=` and `.`.
    Base64,
}

impl Alphabet {
    pub(super) fn holds(self, byte: u8) -> bool {
        match self {
            Self::UpperDigits => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Letters => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || b"-_".contains(&byte),
            Self::Base64 => byte.is_ascii_alphanumeric() || b"-_/+=.".contains(&byte),
        }
    }
}

const fn format(prefix: &'static str, alphabet: Alphabet, (length_min, length_max): (usize, usize)) -> Format {
    Format { prefix, alphabet, length_min, length_max }
}

/// The longer prefix stands before the one it begins with.
#[rustfmt::skip]
pub(super) const FORMATS: &[Format] = &[
    // Amazon
    format("AKIA", Alphabet::UpperDigits, (16, 16)),
    format("ASIA", Alphabet::UpperDigits, (16, 16)),
    // GitHub and GitLab
    format("ghp_", Alphabet::Letters, (36, 255)),
    format("gho_", Alphabet::Letters, (36, 255)),
    format("ghu_", Alphabet::Letters, (36, 255)),
    format("ghs_", Alphabet::Letters, (36, 255)),
    format("ghr_", Alphabet::Letters, (36, 255)),
    format("github_pat_", Alphabet::Url, (60, 255)),
    format("glpat-", Alphabet::Url, (20, 64)),
    // Slack
    format("xoxb-", Alphabet::Url, (20, 255)),
    format("xoxa-", Alphabet::Url, (20, 255)),
    format("xoxp-", Alphabet::Url, (20, 255)),
    format("xoxr-", Alphabet::Url, (20, 255)),
    format("xoxs-", Alphabet::Url, (20, 255)),
    format("xapp-", Alphabet::Url, (20, 255)),
    format("https://hooks.slack.com/services/", Alphabet::Base64, (20, 255)),
    // Stripe
    format("sk_live_", Alphabet::Letters, (20, 255)),
    format("sk_test_", Alphabet::Letters, (20, 255)),
    format("rk_live_", Alphabet::Letters, (20, 255)),
    format("rk_test_", Alphabet::Letters, (20, 255)),
    format("whsec_", Alphabet::Base64, (24, 255)),
    // Google
    format("AIza", Alphabet::Url, (35, 35)),
    format("ya29.", Alphabet::Url, (20, 512)),
    format("GOCSPX-", Alphabet::Url, (28, 28)),
    // Models
    format("sk-", Alphabet::Url, (32, 255)),
    format("hf_", Alphabet::Letters, (30, 64)),
    format("gsk_", Alphabet::Letters, (40, 64)),
    format("tessera_", Alphabet::Url, (32, 128)),
    // Packages
    format("npm_", Alphabet::Letters, (36, 36)),
    format("pypi-", Alphabet::Url, (50, 255)),
    format("dop_v1_", Alphabet::Letters, (64, 64)),
    // Mail
    format("SG.", Alphabet::Base64, (60, 70)),
    format("key-", Alphabet::Letters, (32, 32)),
];

/// Names in lower case before which a value is a secret, whatever stands before them: `DB_PASSWORD`.
pub(super) const NAMES: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "secret_key",
    "secretkey",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "access_token",
    "auth_token",
    "private_key",
];
