//! What closing blocks and merging them comes to, for one source: decided and packed without
//! anything being changed, so that the change itself is short.
//!
//! One source is one step: its closed windows, and every merge that follows from them, become
//! visible together (flukso.md §4.8: a reader that sees sixteen children without their parent
//! loses them).

use std::collections::BTreeMap;

use meter_protocols::flukso::tmpo::{self, Block, Point, span};
use rusqlite::Connection;

use super::cells::Shape;
use super::open::{OpenBlock, Source};
use super::summary::Summary;
use super::tables::{self, Listed, Put};

/// What is to be done for one source.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) source: Source,
    /// Blocks to be stored, each once.
    pub(super) puts: Vec<Put>,
    /// Stored blocks that are part of another now.
    pub(super) retired: Vec<i64>,
    /// Where the windows begin whose open blocks are done with.
    pub(super) written: Vec<i64>,
    /// Places to publish: closed and rewritten blocks, in the order they came to be.
    pub(super) closed: Vec<(u8, i64)>,
    /// The same, of those that were merged; they come after what was closed of any source.
    pub(super) merged: Vec<(u8, i64)>,
    /// Stored blocks that could not be read.
    pub(super) unreadable: u64,
}

/// A block on the shelf of one source.
enum Item {
    Stored(Listed),
    New(Made),
}

/// A block made here.
struct Made {
    block: Block,
    shape: Shape,
    taken: bool,
    regarded: u64,
    /// Its packed bytes, where they are to be kept as they came.
    gzip: Option<Vec<u8>>,
}

/// Plans for one source.
pub(super) struct Planner<'a> {
    connection: &'a Connection,
    row: Option<i64>,
    /// The clock, and how far it may be behind the end of a window.
    now: i64,
    grace: i64,
    shelf: BTreeMap<(u8, i64), Item>,
    plan: Plan,
    /// Blocks that were made and merged within this plan.
    passed: Vec<((u8, i64), Made)>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        row: Option<i64>,
        source: Source,
        now: i64,
        grace: i64,
    ) -> rusqlite::Result<Planner<'a>> {
        let listed = row.map(|row| tables::unmerged(connection, row, source.1)).transpose()?;
        let listed = listed.unwrap_or_default().into_iter();
        let shelf = listed.map(|one| ((one.level, one.begin), Item::Stored(one))).collect();
        let plan = Plan {
            source,
            puts: Vec::new(),
            retired: Vec::new(),
            written: Vec::new(),
            closed: Vec::new(),
            merged: Vec::new(),
            unreadable: 0,
        };
        Ok(Planner { connection, row, now, grace, shelf, plan, passed: Vec::new() })
    }

    /// Puts away the open block of a window that is over. `regarded`: the last record whose
    /// readings of this source are all in blocks that are stored or put away now.
    pub(super) fn close(&mut self, open: &OpenBlock, regarded: u64) -> rusqlite::Result<()> {
        self.plan.written.push(open.begin);
        let made = |block| Made { block, shape: open.shape, taken: false, regarded, gzip: None };
        let Some(block) = Block::new(&*open.config, open.points()) else { return Ok(()) };
        let Some(place) = self.covering(open.begin, 8)? else {
            self.shelf.insert((8, open.begin), Item::New(made(block)));
            self.plan.closed.push((8, open.begin));
            return Ok(());
        };
        let Some(stored) = self.load(place)? else {
            // Nothing can be read of what was there: what is new takes its place.
            self.shelf.insert((8, open.begin), Item::New(made(block)));
            self.plan.closed.push((8, open.begin));
            return Ok(());
        };
        let points = union(stored.block.points(), block.points());
        if points.len() == stored.block.points().len() {
            // All of it was there already: a replay, or readings that came twice.
            self.shelf.insert(place, stored.into_item());
            return Ok(());
        }
        let Some(block) = Block::new(stored.block.config(), points) else { return Ok(()) };
        let (shape, taken) = (stored.shape, stored.taken);
        // A window that is open still, under a block that was merged by a clock gone wrong, has
        // readings that are in no stored block.
        let whole = place.1 + span(place.0) + self.grace <= self.now;
        let regarded = if whole { regarded } else { stored.regarded };
        let made = Made { block, shape, taken, regarded, gzip: None };
        self.shelf.insert(place, Item::New(made));
        if !self.plan.closed.contains(&place) {
            self.plan.closed.push(place);
        }
        Ok(())
    }

    /// Takes in a block that the meter itself has made; its readings win over all others. `true`:
    /// something has changed by it.
    pub(super) fn take_in(
        &mut self,
        (level, begin): (u8, i64),
        block: Block,
        shape: Shape,
        gzip: Vec<u8>,
    ) -> rusqlite::Result<bool> {
        if let Some(place) = self.covering(begin, level)? {
            let Some(stored) = self.load(place)? else { return Ok(false) };
            let points = union(block.points(), stored.block.points());
            let unchanged = points == stored.block.points();
            if place != (level, begin) || (unchanged && stored.taken) {
                if unchanged {
                    self.shelf.insert(place, stored.into_item());
                    return Ok(false);
                }
                let Some(block) = Block::new(stored.block.config(), points) else {
                    return Ok(false);
                };
                let (taken, regarded) = (stored.taken, stored.regarded);
                let made = Made { block, shape: stored.shape, taken, regarded, gzip: None };
                self.shelf.insert(place, Item::New(made));
                self.plan.closed.push(place);
                return Ok(true);
            }
            self.shelf.insert(place, stored.into_item());
        }
        self.put_taken((level, begin), block, shape, gzip)
    }

    /// Puts the meter's block in its place, together with what was there and below.
    fn put_taken(
        &mut self,
        place: (u8, i64),
        block: Block,
        shape: Shape,
        gzip: Vec<u8>,
    ) -> rusqlite::Result<bool> {
        let (level, begin) = place;
        let inside =
            |(lower, at): &(u8, i64)| *lower <= level && (begin..begin + span(level)).contains(at);
        let places: Vec<(u8, i64)> =
            self.shelf.keys().filter(|place| inside(place)).copied().collect();
        let mut points = block.points().to_vec();
        let mut changed = true;
        for inner in places {
            if let Some(stored) = self.load(inner)? {
                changed &= inner != place || stored.block.points() != points;
                points = union(&points, stored.block.points());
                if inner != place {
                    self.plan.retired.push(stored.id);
                }
            }
        }
        let as_it_came = points.len() == block.points().len();
        let gzip = as_it_came.then_some(gzip);
        let Some(block) = Block::new(block.config(), points) else { return Ok(false) };
        // Open blocks may have readings of this window: a replay has to look at all of them.
        let made = Made { block, shape, taken: true, regarded: 0, gzip };
        self.shelf.insert(place, Item::New(made));
        if changed {
            self.plan.closed.push(place);
        }
        Ok(changed)
    }

    /// Merges everything whose larger window is over, from the lowest level up.
    pub(super) fn cascade(&mut self, regarded: u64) -> rusqlite::Result<()> {
        for level in [8, 12, 16] {
            let above = level + 4;
            let mut groups: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
            for (_, begin) in
                self.shelf.range((level, i64::MIN)..=(level, i64::MAX)).map(|(place, _)| place)
            {
                let parent = tmpo::window(above, *begin);
                if parent + span(above) + self.grace <= self.now {
                    groups.entry(parent).or_default().push(*begin);
                }
            }
            for (parent, children) in groups {
                self.merge((above, parent), level, &children, regarded)?;
            }
        }
        Ok(())
    }

    fn merge(
        &mut self,
        place: (u8, i64),
        level: u8,
        children: &[i64],
        regarded: u64,
    ) -> rusqlite::Result<()> {
        let mut parts = Vec::new();
        // One that is there already (from the meter itself) keeps its readings.
        if let Some(there) = self.find(place)?
            && let Some(stored) = self.load(there)?
        {
            parts.push(stored);
        }
        let had = parts.len();
        for begin in children {
            if let Some(child) = self.load((level, *begin))? {
                parts.push(child);
            }
        }
        let Some(last) = parts.last() else { return Ok(()) };
        let (shape, taken) = (last.shape, last.taken);
        let config: Box<str> = last.block.config().into();
        let mut points: Vec<Point> = Vec::new();
        for part in &parts {
            points = match points.last() {
                Some(end) if end.at >= part.block.head().at => union(&points, part.block.points()),
                _ => {
                    points.extend_from_slice(part.block.points());
                    points
                }
            };
        }
        for child in parts.into_iter().skip(had) {
            match child.new {
                true => self.passed.push((child.place, child.into_made())),
                false => self.plan.retired.push(child.id),
            }
        }
        let Some(block) = Block::new(config, points) else { return Ok(()) };
        let made = Made { block, shape, taken, regarded, gzip: None };
        self.shelf.insert(place, Item::New(made));
        self.plan.merged.push(place);
        Ok(())
    }

    /// The listed block that has `begin` in its window, of the highest level, at least `lowest`.
    fn covering(&mut self, begin: i64, lowest: u8) -> rusqlite::Result<Option<(u8, i64)>> {
        for level in [20, 16, 12, 8].into_iter().take_while(|level| *level >= lowest) {
            if let Some(place) = self.find((level, tmpo::window(level, begin)))? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// The place itself when a listed block is there. Those of the highest level are looked up.
    fn find(&mut self, place: (u8, i64)) -> rusqlite::Result<Option<(u8, i64)>> {
        if !self.shelf.contains_key(&place)
            && place.0 == 20
            && let Some(row) = self.row
            && let Some(listed) = tables::at(self.connection, row, self.plan.source.1, 20, place.1)?
            && !self.plan.retired.contains(&listed.id)
        {
            self.shelf.insert(place, Item::Stored(listed));
        }
        Ok(self.shelf.contains_key(&place).then_some(place))
    }

    /// Takes a block off the shelf. One that cannot be read is taken off the list for good.
    fn load(&mut self, place: (u8, i64)) -> rusqlite::Result<Option<Loaded>> {
        let listed = match self.shelf.remove(&place) {
            None => return Ok(None),
            Some(Item::New(made)) => return Ok(Some(Loaded::new(place, made))),
            Some(Item::Stored(listed)) => listed,
        };
        let (body, summary) = tables::body(self.connection, listed.id)?;
        let read = Block::from_gzip(&body).ok().zip(Summary::decode(&summary));
        let Some((block, summary)) = read else {
            let ((sensor, rid), (level, begin)) = (self.plan.source, place);
            tracing::error!(%sensor, rid, level, begin, "a stored block cannot be read any more and is passed over");
            self.plan.unreadable += 1;
            self.plan.retired.push(listed.id);
            return Ok(None);
        };
        Ok(Some(Loaded {
            block,
            shape: summary.shape,
            taken: listed.taken,
            regarded: listed.regarded,
            gzip: Some(body),
            new: false,
            id: listed.id,
            place,
        }))
    }

    /// What is to be done.
    pub(super) fn finish(mut self) -> Plan {
        let mut made: Vec<_> = Vec::new();
        let now = self.now;
        for (place, one) in self.passed.drain(..) {
            made.push((place, one, Some(now)));
        }
        for (place, item) in self.shelf {
            if let Item::New(one) = item {
                made.push((place, one, None));
            }
        }
        for ((level, begin), one, retired) in made {
            let summary = Summary::of(one.shape, one.block.points());
            let gzip = one.gzip.unwrap_or_else(|| one.block.gzip());
            self.plan.puts.push(Put {
                level,
                begin,
                taken: one.taken,
                regarded: one.regarded,
                retired,
                summary: summary.map(|summary| summary.encode()).unwrap_or_default(),
                gzip,
            });
        }
        self.plan
    }
}

/// A block taken off the shelf.
struct Loaded {
    block: Block,
    shape: Shape,
    taken: bool,
    regarded: u64,
    gzip: Option<Vec<u8>>,
    /// Made within this plan; otherwise `id` is its row.
    new: bool,
    id: i64,
    place: (u8, i64),
}

impl Loaded {
    fn new(place: (u8, i64), made: Made) -> Loaded {
        Loaded {
            block: made.block,
            shape: made.shape,
            taken: made.taken,
            regarded: made.regarded,
            gzip: made.gzip,
            new: true,
            id: 0,
            place,
        }
    }

    fn into_made(self) -> Made {
        let Loaded { block, shape, taken, regarded, gzip, .. } = self;
        Made { block, shape, taken, regarded, gzip }
    }

    fn listed(&self) -> Listed {
        let (level, begin) = self.place;
        Listed { id: self.id, level, begin, taken: self.taken, regarded: self.regarded }
    }

    /// Puts it back as it was.
    fn into_item(self) -> Item {
        if self.new { Item::New(self.into_made()) } else { Item::Stored(self.listed()) }
    }
}

/// All readings of both in the order of time; of two at the same time the first list's.
pub(super) fn union(first: &[Point], second: &[Point]) -> Vec<Point> {
    let mut points = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first, second);
    loop {
        match (first.split_first(), second.split_first()) {
            (Some((one, rest)), Some((other, later))) => {
                points.push(if one.at <= other.at { *one } else { *other });
                if one.at <= other.at {
                    first = rest;
                }
                if other.at <= one.at {
                    second = later;
                }
            }
            _ => {
                points.extend_from_slice(first);
                points.extend_from_slice(second);
                return points;
            }
        }
    }
}
