//! Who may log in, and what for: users, password file, access list.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::broker::{PasswordFile, PasswordHash, check_filter};
use crate::config::broker::Mode;

impl Check<'_> {
    pub(super) fn access(&mut self) {
        self.users();
        let from_file = self.password_file();
        self.access_list(from_file);
    }

    fn users(&mut self) {
        let users = &self.config.broker.users;
        let mut names = BTreeMap::new();
        for (at, user) in users.iter().enumerate() {
            let key = format!("broker.users.{at}");
            if user.name.is_empty() {
                self.report(&format!("{key}.name"), "is missing: write the name the client gives");
            } else if user.name == "*" {
                let message = "\"*\" stands for every user in the access list: choose another name";
                self.report(&format!("{key}.name"), message);
            } else if let Some(first) = names.get(&user.name) {
                let first = self.elsewhere(&format!("broker.users.{first}.name"));
                let message = format!("\"{}\" is there twice (also {first})", user.name);
                self.report(&format!("{key}.name"), message);
            } else {
                names.insert(&user.name, at);
            }
            let hash = user.password_hash.reveal();
            let key = format!("{key}.password_hash");
            if hash.is_empty() {
                self.report(&key, "is missing: `meterbridge passwd NAME` prints it");
            } else if let Err(error) = hash.parse::<PasswordHash>() {
                self.report(&key, format!("{error}; `meterbridge passwd NAME` prints one"));
            }
        }
    }

    /// The names in the password file; `None` when it cannot be read.
    fn password_file(&mut self) -> Option<BTreeSet<String>> {
        let broker = &self.config.broker;
        let Some(path) = broker.password_file.as_ref().filter(|_| broker.mode == Mode::Embedded)
        else {
            return Some(BTreeSet::new());
        };
        match PasswordFile::read(path) {
            Err(error) => {
                self.report("broker.password_file", error.to_string());
                None
            }
            Ok(file) => {
                let mut faults = file.faults.iter();
                if let Some(fault) = faults.next() {
                    let more = match faults.count() {
                        0 => String::new(),
                        more => format!("; and {more} more"),
                    };
                    let message = format!("{}, {fault}{more}", path.display());
                    self.report("broker.password_file", message);
                }
                Some(file.users.into_iter().map(|(name, _)| name).collect())
            }
        }
    }

    fn access_list(&mut self, from_file: Option<BTreeSet<String>>) {
        let broker = &self.config.broker;
        for (at, entry) in broker.acl.iter().enumerate() {
            let key = format!("broker.acl.{at}");
            if entry.read.is_empty() && entry.write.is_empty() && entry.deny.is_empty() {
                self.report(
                    &key,
                    "says nothing: give it read, write or deny, with lists of filters",
                );
            }
            if let (Some(user), Some(from_file)) = (&entry.user, &from_file)
                && user != "*"
                && !broker.users.iter().any(|known| known.name == *user)
                && !from_file.contains(user)
            {
                let message = format!(
                    "\"{user}\" is no user, in broker.users or in broker.password_file, so the \
                     entry would do nothing"
                );
                self.report(&format!("{key}.user"), message);
            }
            let lists = [("read", &entry.read), ("write", &entry.write), ("deny", &entry.deny)];
            for (kind, filters) in lists {
                for (at, filter) in filters.iter().enumerate() {
                    self.pattern(&format!("{key}.{kind}.{at}"), filter, entry.user.is_some());
                }
            }
        }
    }

    /// One filter of the access list.
    fn pattern(&mut self, key: &str, filter: &str, has_user: bool) {
        if let Err(error) = check_filter(filter) {
            self.report(key, error.to_string());
        } else if !has_user && filter.contains("%u") {
            let message = format!(
                "\"{filter}\" has %u, and the entry is for clients without a login, which have no \
                 user name: give it a user (\"*\" for every one), or write %c for the client id"
            );
            self.report(key, message);
        }
    }
}
