//! The parameters of a call: bounded, each name once, and masked before they are shown to anybody.

use crate::domain::problem::{Problem, ProblemCode};

/// Parameters of one call.
const COUNT_MAX: usize = 100;
/// Bytes of a name, and of a value.
const NAME_MAX: usize = 100;
const VALUE_MAX: usize = 2_048;
/// What is kept of a refused call.
const SHOWN: usize = 50;
const SHOWN_CHARS: usize = 255;

/// What a call may prove by a parameter that it knows the endpoint's secret: our name, and those of TUNE, Affise and
/// Everflow.
pub(super) const SECRETS: &[&str] = &["secret", "security_token", "secure", "verification_token"];
/// Names whose values nobody is shown.
const MASKED: &[&str] = &["token", "password", "authorization", "email", "e-mail", "mail", "phone", "ip"];
const MASK: &str = "***";

/// Names and values in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub const fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// Of a query string or of a form, percent-encoded.
    pub fn of_query(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Adds those of another part of the call.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Refuses what nobody sends in earnest, and what can be read in two ways.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.0.len() > COUNT_MAX {
            let message = format!("at most {COUNT_MAX} parameters");
            return Err(Problem::new(ProblemCode::BatchSize, &["parameters"], message));
        }
        for (index, (name, value)) in self.0.iter().enumerate() {
            let refused = |what: &str| Err(Problem::new(ProblemCode::InvalidText, &[&super::short(name)], what));
            if name.len() > NAME_MAX || value.len() > VALUE_MAX {
                return refused("the parameter is too long");
            }
            if self.0[..index].iter().any(|(earlier, other)| earlier == name && other != value) {
                return refused("the parameter comes twice, with two values");
            }
        }
        Ok(())
    }

    /// The value of a parameter; an empty one counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.trim());
        values.find(|value| !value.is_empty())
    }

    /// The first of several names that has a value.
    pub(super) fn first(&self, names: &[&'static str]) -> Option<(&'static str, &str)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    /// The secret that the call offers.
    pub fn secret(&self) -> Option<&str> {
        self.first(SECRETS).map(|(_, secret)| secret)
    }

    /// What of them may be kept and shown: secrets and what tells of persons masked, bounded in number and length.
    pub fn shown(&self) -> Vec<(String, String)> {
        let cut = |text: &str| text.chars().take(SHOWN_CHARS).collect::<String>();
        let is_masked = |name: &str, value: &str| {
            let name = name.to_ascii_lowercase();
            SECRETS.contains(&name.as_str()) || MASKED.contains(&name.as_str()) || value.contains('@')
        };
        self.0
            .iter()
            .take(SHOWN)
            .map(|(name, value)| (cut(name), if is_masked(name, value) { MASK.to_owned() } else { cut(value) }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_persons_are_masked_and_the_rest_is_bounded() {
        let query = "amount=1&security_token=s3cret&Email=x&adv1=ada%40example.com&secure=h&adv2=";
        let mut parameters = Parameters::of_query(&format!("{query}{}", "y".repeat(1_000)));
        parameters.extend(Parameters::new(vec![("n".to_owned(), "v".to_owned()); 100]));
        let shown = parameters.shown();
        let texts: Vec<String> = shown.iter().take(5).map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(texts, ["amount=1", "security_token=***", "Email=***", "adv1=***", "secure=***"]);
        assert_eq!((shown.len(), shown[5].1.len()), (SHOWN, SHOWN_CHARS));
        assert_eq!(parameters.secret(), Some("s3cret"));
    }

    #[test]
    fn same_value_twice_is_once_and_too_much_is_refused() {
        assert!(Parameters::of_query("a=1&a=1").check().is_ok());
        for query in
            ["a=1&a=2", &format!("a={}", "x".repeat(2_049)), &format!("{}=1", "x".repeat(101)), &"a=1&".repeat(101)]
        {
            assert!(Parameters::of_query(query).check().is_err(), "{query}");
        }
    }
}
