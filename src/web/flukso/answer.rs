//! Answers in the form that Flukso's programs expect: bodies, refusals, and which of several forms.

use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::params::Params;

/// Why a request is not answered; the words are one line of plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) words: String,
}

impl Refusal {
    /// The request is no request.
    pub(super) fn malformed(words: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::BAD_REQUEST, words: words.into() }
    }

    /// The token is another one.
    pub(super) fn wrong_token() -> Refusal {
        let words = "this token does not open this sensor: /api/sensors tells the right one";
        Refusal { status: StatusCode::UNAUTHORIZED, words: words.to_owned() }
    }

    /// There is nothing of this name.
    pub(super) fn not_found(words: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::NOT_FOUND, words: words.into() }
    }

    /// None of the forms that there are is wanted.
    pub(super) fn not_acceptable(offers: &[&str]) -> Refusal {
        let words = format!("the header Accept allows none of {}", offers.join(", "));
        Refusal { status: StatusCode::NOT_ACCEPTABLE, words }
    }

    /// It cannot be answered now.
    pub(super) fn unavailable(words: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::SERVICE_UNAVAILABLE, words: words.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], self.words + "\n")
                .into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(CHALLENGE);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// The function that the answer is to be a call of, if one is named.
///
/// # Errors
/// 400 when that is no name of a function.
pub(super) fn callback(params: &Params) -> Result<Option<&str>, Refusal> {
    match params.find("callback") {
        Some(name) if !is_a_name(name) => {
            let words = format!("callback is {name:?}: letters, digits and _ are meant");
            Err(Refusal::malformed(words))
        }
        name => Ok(name),
    }
}

/// JSON as it is, or in a call of [`callback`].
pub(super) fn json(text: String, callback: Option<&str>) -> Response {
    let body = match callback {
        None => text,
        Some(name) => format!("{name}({text});"),
    };
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

fn is_a_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The place of the offer that is wanted most; the first where all are the same to the client.
///
/// # Errors
/// 406 when none is wanted.
pub(super) fn choose(headers: &HeaderMap, offers: &[&str]) -> Result<usize, Refusal> {
    let wishes = wishes(headers);
    if wishes.is_empty() {
        return Ok(0);
    }
    let weighed = offers.iter().enumerate().filter_map(|(place, offer)| {
        let fits = wishes.iter().enumerate().filter_map(|(rank, (range, quality))| {
            Some((closeness(range, offer)?, quality, std::cmp::Reverse(rank)))
        });
        // The closest range says how much; "text/csv;q=0, */*" wants everything but that.
        let (_, quality, rank) = fits.max_by_key(|(closeness, _, rank)| (*closeness, *rank))?;
        (*quality > 0).then_some((*quality, rank, std::cmp::Reverse(place)))
    });
    let best = weighed.max();
    best.map(|(_, _, place)| place.0).ok_or_else(|| Refusal::not_acceptable(offers))
}

/// Media ranges with their quality in thousandths, in their order.
fn wishes(headers: &HeaderMap) -> Vec<(String, u16)> {
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = texts.flat_map(|text| text.split(',')).take(RANGES);
    let wish = |range: &str| {
        let mut parts = range.split(';');
        let name = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.trim().strip_prefix("q="));
        let quality = quality.and_then(|text| text.parse::<f32>().ok());
        (!name.is_empty()).then(|| (name, (quality.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u16))
    };
    ranges.filter_map(wish).collect()
}

/// 2 for the same, 1 for its family, 0 for `*/*`.
fn closeness(range: &str, offer: &str) -> Option<u8> {
    let family = offer.split_once('/').map_or(offer, |(family, _)| family);
    if range == offer {
        Some(2)
    } else if range.strip_suffix("/*").is_some_and(|known| known == family) {
        Some(1)
    } else {
        (range == "*/*").then_some(0)
    }
}

const CHALLENGE: &str = "Token realm=\"sensor\"";
/// Ranges of a header that are looked at.
const RANGES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [&str; 2] = ["application/gzip", "application/json"];

    fn chosen(accept: &str) -> Option<usize> {
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
        choose(&headers, &OFFERS).ok()
    }

    #[test]
    fn the_form_is_the_one_that_is_wanted_most() {
        assert_eq!(choose(&HeaderMap::new(), &OFFERS), Ok(0));
        assert_eq!(chosen("*/*"), Some(0));
        assert_eq!(chosen("application/json"), Some(1));
        assert_eq!(chosen("application/json, text/javascript, */*; q=0.01"), Some(1));
        assert_eq!(chosen("Application/GZIP;q=0.5,application/*;q=0.7"), Some(1));
        assert_eq!(chosen("application/json;q=0,*/*"), Some(0));
        assert_eq!(chosen("application/gzip;q=0,application/json;q=0.0"), None);
        assert_eq!(chosen("text/html"), None);
        assert_eq!(chosen("text/*;level=1"), None);
    }

    #[test]
    fn a_callback_is_a_name() {
        assert_eq!(callback(&Params::decoded("callback=jQuery1_2&_=3")), Ok(Some("jQuery1_2")));
        assert_eq!(callback(&Params::decoded("_=3")), Ok(None));
        for name in ["a.b", "alert(1)//", "a%20b", "%C3%A9"] {
            let params = Params::decoded(&format!("callback={name}"));
            let refusal = callback(&params).unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
        }
    }
}
