//! A client of blocks by the rules of tmpo-py 0.2.10, as `protocols/flukso.md` tells them in §4.8:
//! the cursor is the row that was put in last, a block that is there already is an error, a block of
//! a higher level wipes what lies before its end on the levels below, and no status is looked at.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use meter_protocols::flukso::tmpo::Block;

use crate::flukso::ask;

/// The blocks of one sensor.
#[derive(Debug)]
pub(crate) struct Client {
    sid: String,
    token: String,
    /// In the order in which they came: (rid, level, bid) and their bytes.
    rows: Vec<((u32, u8, i64), Vec<u8>)>,
}

impl Client {
    pub(crate) fn new(sid: &str, token: &str) -> Client {
        Client { sid: sid.to_owned(), token: token.to_owned(), rows: Vec::new() }
    }

    /// Takes over what is new; answers how many blocks that were.
    pub(crate) async fn sync(&mut self, web: SocketAddr) -> usize {
        let (rid, lvl, bid) = self.rows.last().map_or((0, 0, 0), |(key, _)| *key);
        let path = format!("/api/sensor/{}/tmpo/sync?rid={rid}&lvl={lvl}&bid={bid}", self.sid);
        let list = ask(web, "GET", &path, &self.headers("application/json")).await;
        assert_eq!(list.status, 200, "{list:?}");
        let list = list.json();
        let list = list.as_array().unwrap();
        for entry in list {
            assert_eq!(entry["ext"], "gz");
            let number = |key: &str| entry[key].as_i64().unwrap();
            self.take(web, (number("rid") as u32, number("lvl") as u8, number("bid"))).await;
        }
        list.len()
    }

    async fn take(&mut self, web: SocketAddr, key: (u32, u8, i64)) {
        let (rid, lvl, bid) = key;
        let path = format!("/api/sensor/{}/tmpo/{rid}/{lvl}/{bid}", self.sid);
        let block = ask(web, "GET", &path, &self.headers("application/gzip")).await;
        assert!(block.head.contains("content-type: application/gzip"), "{block:?}");
        assert!(!block.head.contains("content-encoding"), "{block:?}");
        assert!(self.rows.iter().all(|(known, _)| *known != key), "{key:?} was there already");
        self.rows.push((key, block.body));
        // What it covers goes, and what is older with it.
        let (mut level, mut last) = (lvl, bid);
        while level > 8 {
            level -= 4;
            last += 15 << level;
            self.rows.retain(|((r, l, b), _)| *r != rid || *l != level || *b > last);
        }
    }

    fn headers(&self, accept: &str) -> String {
        let token = &self.token;
        format!(
            "X-Version: 1.0\r\nX-Token: {token}\r\nAccept: {accept}\r\nAccept-Encoding: gzip, deflate\r\n"
        )
    }

    /// Every reading of every block, and that none comes twice.
    pub(crate) fn series(&self) -> Vec<(i64, i64)> {
        let mut series = BTreeMap::new();
        for (key, bytes) in &self.rows {
            let block = Block::from_gzip(bytes).unwrap_or_else(|error| panic!("{key:?}: {error}"));
            for point in block.points() {
                let twice = series.insert(point.at, point.milli);
                assert_eq!(twice, None, "{} twice, in {key:?} again", point.at);
            }
        }
        series.into_iter().collect()
    }

    pub(crate) fn blocks(&self) -> usize {
        self.rows.len()
    }

    /// How many blocks have a part of a span of time.
    pub(crate) fn covering(&self, from: i64, to: i64) -> usize {
        let has_part = |(_, level, bid): &(u32, u8, i64)| *bid <= to && bid + (1 << level) > from;
        self.rows.iter().filter(|(key, _)| has_part(key)).count()
    }
}
