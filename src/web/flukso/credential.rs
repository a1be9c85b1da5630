//! Version and token of a request to Flukso's server.

use axum::http::HeaderMap;

use super::answer::Refusal;
use super::params::Params;
use crate::model::SensorId;
use crate::web::Tokens;

/// A token that has the form of one.
#[derive(Debug)]
pub(super) struct Token(String);

impl Token {
    /// The token of a request that also tells its version; each stands in a header or among the
    /// parameters, and not in both.
    ///
    /// # Errors
    /// 400 and why.
    pub(super) fn read(headers: &HeaderMap, params: &Params) -> Result<Token, Refusal> {
        let version = one_of(headers, "X-Version", params, "version")?;
        if version != VERSION {
            let words = format!("version is {version:?}: {VERSION} is the only one");
            return Err(Refusal::malformed(words));
        }
        let token = one_of(headers, "X-Token", params, "token")?;
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if token.len() == 32 && token.bytes().all(digits) {
            return Ok(Token(token.to_owned()));
        }
        // What somebody took for a token is repeated to nobody.
        Err(Refusal::malformed("the token is not of 32 lower-case hexadecimal digits"))
    }

    /// Lets it in where it opens this sensor.
    ///
    /// # Errors
    /// 401 where it does not.
    pub(super) fn opens(&self, sensor: SensorId, tokens: &Tokens) -> Result<(), Refusal> {
        let fits = same(&self.0, &tokens.of(sensor)) | same(&self.0, &tokens.master());
        if fits { Ok(()) } else { Err(Refusal::wrong_token()) }
    }

    /// Lets it in where it opens everything.
    ///
    /// # Errors
    /// 401 where it does not.
    pub(super) fn opens_all(&self, tokens: &Tokens) -> Result<(), Refusal> {
        if same(&self.0, &tokens.master()) {
            return Ok(());
        }
        let words = "the master token is needed here: /api/info tells it to those who may read every sensor";
        Err(Refusal { words: words.to_owned(), ..Refusal::wrong_token() })
    }
}

/// Whether a request has a token at all.
pub(super) fn is_given(headers: &HeaderMap, params: &Params) -> bool {
    headers.contains_key("X-Token") || params.find("token").is_some()
}

/// The id of a sensor as it stands in a path.
///
/// # Errors
/// 400 when it is none.
pub(super) fn sensor(text: &str) -> Result<SensorId, Refusal> {
    match text.parse::<SensorId>() {
        Ok(sensor) => Ok(sensor),
        Err(error) => Err(Refusal::malformed(error.to_string())),
    }
}

fn one_of<'a>(
    headers: &'a HeaderMap,
    header: &str,
    params: &'a Params,
    name: &str,
) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(header).iter();
    let (first, second) = (values.next(), values.next());
    match (first, params.find(name)) {
        (Some(_), Some(_)) => {
            let words = format!("the header {header} and the parameter {name} are both given");
            Err(Refusal::malformed(words))
        }
        (None, None) => {
            let words = format!("the header {header} or the parameter {name} is needed");
            Err(Refusal::malformed(words))
        }
        (None, Some(value)) => Ok(value),
        (Some(value), None) => {
            let text = value.to_str().ok().filter(|_| second.is_none());
            let words = || format!("the header {header} is not one line of text");
            text.ok_or_else(|| Refusal::malformed(words()))
        }
    }
}

/// Takes the same time wherever they differ.
fn same(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && differences == 0
}

const VERSION: &str = "1.0";

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn read(headers: &[(&'static str, &str)], query: &str) -> Result<Token, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Token::read(&map, &Params::decoded(query))
    }

    #[test]
    fn version_and_token_stand_in_one_place_each() {
        let token = "0123456789abcdef0123456789abcdef";
        let query = format!("version=1.0&token={token}&_=17");
        assert!(read(&[], &query).is_ok());
        assert!(read(&[("x-version", "1.0"), ("x-token", token)], "").is_ok());
        assert!(read(&[("x-version", "1.0")], &format!("token={token}")).is_ok());
        let refused = [
            read(&[("x-version", "1.0")], &query),
            read(&[("x-token", token)], &query),
            read(&[("x-token", token)], ""),
            read(&[("x-version", "1.0")], ""),
            read(&[], &query.replace("1.0", "1")),
            read(&[], &query.replace("1.0", "2.0")),
            read(&[], &query.replace("abcdef&", "ABCDEF&")),
            read(&[], &query.replace("0123", "012")),
            read(&[("x-version", "1.0"), ("x-token", token), ("x-token", token)], ""),
        ];
        for outcome in refused {
            let refusal = outcome.unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
            assert!(!refusal.words.contains("0123456789"), "{}", refusal.words);
        }
    }

    #[test]
    fn a_sensors_token_opens_that_sensor_and_the_masters_all() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::load(dir.path()).unwrap();
        let (one, other) = (SensorId::from([1; 16]), SensorId::from([2; 16]));
        let own = Token(tokens.of(one));
        assert!(own.opens(one, &tokens).is_ok());
        assert_eq!(own.opens(other, &tokens).unwrap_err().status, StatusCode::UNAUTHORIZED);
        assert!(own.opens_all(&tokens).is_err());
        let master = Token(tokens.master());
        assert!(master.opens(one, &tokens).is_ok() && master.opens_all(&tokens).is_ok());
    }
}
