//! Rows of JSON on top of a store: each has an owner and an id that grows with time.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Entry, Expected, Range};
use crate::store::{Error, ErrorCode};
use crate::{Response, id};

/// Most bytes of an owner's name.
pub const OWNER_BYTES_MAX: usize = 256;

/// Most rows of one answer.
pub const ROWS_MAX: u32 = 1000;

/// Most bytes of one answer, about, where nobody says otherwise: 8 MiB.
const BYTES_MAX: usize = 8 << 20;

/// How often a change is made again that others forestalled.
const ATTEMPTS_MAX: u32 = 8;

/// The rows of one owner in a store, as JSON of `T`.
///
/// An owner is a name that tells the rows of one person from those of another. It is no protection: whoever may use the store may
/// name any owner. What keeps callers apart is `per = "caller"` in the policy.
///
/// ```no_run
/// # async fn example() -> Result<(), tessera_sdk::Error> {
/// use tessera_sdk::kv::Rows;
///
/// let notes: Rows<String> = Rows::of("notes", "ann")?;
/// let id = notes.add(&"a note".to_owned()).await?;
/// notes.change(&id, |note| note.push_str(", changed")).await?;
/// assert_eq!(notes.get(&id).await?.as_deref(), Some("a note, changed"));
/// assert!(notes.delete(&id).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Rows<T> {
    store: String,
    prefix: String,
    of: PhantomData<fn() -> T>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<T> {
    /// Its id: 24 characters, see [`id`].
    pub id: String,
    /// What it holds.
    pub value: T,
}

/// Which rows to give.
#[derive(Debug, Clone, Copy)]
pub struct Newest<'a> {
    /// So many at most.
    pub rows_max: u32,
    /// Stop behind the row with which they have so many bytes as JSON.
    pub bytes_max: usize,
    /// Only rows that are older than the one of this id: the last of the answer before.
    pub after: Option<&'a str>,
}

/// Some rows, the newest first.
#[derive(Debug)]
pub struct Listed<T> {
    /// The rows.
    pub rows: Vec<Row<T>>,
    /// Whether there are older ones.
    pub has_more: bool,
}

impl<'a> Newest<'a> {
    /// What a client asks for by `limit` and `after`: [`ROWS_MAX`] rows where it names no limit, and 8 MiB of them.
    ///
    /// # Errors
    /// 400 for a limit that is not 1 to [`ROWS_MAX`], and for an `after` that is no id.
    pub fn asked(limit: Option<u32>, after: Option<&'a str>) -> Result<Self, crate::Error> {
        let rows_max = limit.unwrap_or(ROWS_MAX);
        if !(1..=ROWS_MAX).contains(&rows_max) {
            return Err(crate::Error::invalid("limit", &format!("must be 1 to {ROWS_MAX}")));
        }
        if after.is_some_and(|after| !id::is_id(after)) {
            return Err(crate::Error::from(no_id("after")).with_param("after"));
        }
        Ok(Self { rows_max, bytes_max: BYTES_MAX, after })
    }
}

impl<T> Listed<T> {
    /// What to give as `after` for the rows behind these; none if there are none.
    pub fn next(&self) -> Option<&str> {
        self.rows.last().filter(|_| self.has_more).map(|row| row.id.as_str())
    }

    /// Says in the header `x-next-after` of an answer what to give as `after` for the next one, where there are more.
    #[must_use]
    pub fn with_next(&self, response: Response) -> Response {
        match self.next() {
            Some(id) => response.with_header("x-next-after", id),
            None => response,
        }
    }
}

impl<T> Rows<T> {
    /// The rows of an owner.
    ///
    /// # Errors
    /// `invalid-input` for an owner without a name, or with one of more than [`OWNER_BYTES_MAX`] bytes.
    pub fn of(store: &str, owner: &str) -> Result<Self, Error> {
        if owner.trim().is_empty() || owner.len() > OWNER_BYTES_MAX {
            let message = format!("the name of a user must have 1 to {OWNER_BYTES_MAX} bytes, and not only spaces");
            return Err(Error::new(ErrorCode::InvalidInput, message));
        }
        // With its length no owner's prefix begins another one's, whatever is in the names.
        Ok(Self { store: store.to_owned(), prefix: format!("{}:{owner}/", owner.len()), of: PhantomData })
    }

    /// Deletes a row and says whether there was one.
    ///
    /// # Errors
    /// Those of the host.
    pub async fn delete(&self, id: &str) -> Result<bool, Error> {
        match self.key(id) {
            Some(key) => super::delete(&self.store, &key).await,
            None => Ok(false),
        }
    }

    /// Where a row is; none for what is no id, so that nobody names another owner's row by it.
    fn key(&self, id: &str) -> Option<String> {
        id::is_id(id).then(|| format!("{}{id}", self.prefix))
    }
}

impl<T: DeserializeOwned> Rows<T> {
    /// A row; none if there is none.
    ///
    /// # Errors
    /// Those of the host, and `internal` for a row that is no `T`.
    pub async fn get(&self, id: &str) -> Result<Option<T>, Error> {
        let Some(key) = self.key(id) else { return Ok(None) };
        let entry = super::get(&self.store, &key).await?;
        entry.map(|entry| read(&entry)).transpose()
    }

    /// Rows from the newest to the oldest.
    ///
    /// # Errors
    /// Those of the host, `invalid-input` for an `after` that is no id, and `internal` for a row that is no `T`.
    pub async fn newest(&self, wanted: Newest<'_>) -> Result<Listed<T>, Error> {
        let mut after = wanted.after.map(|id| self.key(id).ok_or_else(|| no_id("after"))).transpose()?;
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        loop {
            let left = wanted.rows_max.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
            let range = Range { prefix: self.prefix.clone(), after: after.take(), is_reversed: true, entries_max: left };
            let page = super::list(&self.store, range).await?;
            let count = page.entries.len();
            for (place, entry) in page.entries.into_iter().enumerate() {
                bytes = bytes.saturating_add(entry.value.len());
                rows.push(Row { id: self.id_of(&entry.key), value: read(&entry)? });
                if bytes >= wanted.bytes_max {
                    return Ok(Listed { rows, has_more: page.has_more || place + 1 < count });
                }
                after = Some(entry.key);
            }
            if !page.has_more || count == 0 || rows.len() >= wanted.rows_max as usize {
                return Ok(Listed { rows, has_more: page.has_more });
            }
        }
    }

    fn id_of(&self, key: &str) -> String {
        key.strip_prefix(&self.prefix).unwrap_or(key).to_owned()
    }
}

impl<T: Serialize> Rows<T> {
    /// Adds a row and gives its id.
    ///
    /// # Errors
    /// Those of the host: `quota` if the store is full.
    pub async fn add(&self, value: &T) -> Result<String, Error> {
        let id = id::new();
        super::set(&self.store, &format!("{}{id}", self.prefix), write(value)?, Expected::Nothing).await?;
        Ok(id)
    }
}

impl<T: Serialize + DeserializeOwned> Rows<T> {
    /// Changes a row and says whether there was one. Where somebody else changed it meanwhile, `change` is called again with what
    /// they have made of it.
    ///
    /// # Errors
    /// Those of the host: `conflict` if others change it all the time.
    pub async fn change(&self, id: &str, mut change: impl FnMut(&mut T)) -> Result<bool, Error> {
        let Some(key) = self.key(id) else { return Ok(false) };
        let mut forestalled = Error::new(ErrorCode::Conflict, "others change this all the time: try again");
        for _ in 0..ATTEMPTS_MAX {
            let Some(entry) = super::get(&self.store, &key).await? else { return Ok(false) };
            let mut value = read(&entry)?;
            change(&mut value);
            match super::set(&self.store, &key, write(&value)?, Expected::Revision(entry.revision)).await {
                Ok(_) => return Ok(true),
                Err(error) if error.code == ErrorCode::Conflict => forestalled = error,
                Err(error) => return Err(error),
            }
        }
        Err(forestalled)
    }
}

fn no_id(name: &str) -> Error {
    Error::new(ErrorCode::InvalidInput, format!("`{name}` must be an id that this service has given"))
}

fn read<T: DeserializeOwned>(entry: &Entry) -> Result<T, Error> {
    serde_json::from_slice(&entry.value)
        .map_err(|error| Error::new(ErrorCode::Internal, format!("the row {} can't be read: {error}", entry.key)))
}

fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::new(ErrorCode::Internal, format!("the row is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0000000000zzzzzzzzzzzzzz";

    fn rows(owner: &str) -> Rows<String> {
        Rows::of("notes", owner).expect("a good name")
    }

    #[test]
    fn no_owners_rows_are_among_those_of_another() {
        let names = ["a", "a/b", "1:a", "aa", "1", "a\n"];
        for one in names {
            for other in names.iter().filter(|other| **other != one) {
                assert!(!rows(one).prefix.starts_with(&rows(other).prefix), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_row_is_named_by_an_id_and_nothing_else() {
        assert_eq!(rows("ann").key(ID), Some(format!("3:ann/{ID}")));
        assert_eq!(rows("ann").id_of(&format!("3:ann/{ID}")), ID);
        for text in ["", "/", "../1:a", &ID[1..]] {
            assert_eq!(rows("ann").key(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_client_asks_for_is_checked() {
        let asked = Newest::asked(None, None).expect("nothing is asked for");
        assert_eq!((asked.rows_max, asked.after), (ROWS_MAX, None));
        assert!(Newest::asked(Some(1), Some(ID)).is_ok());
        for (limit, after, param) in [(Some(0), None, "limit"), (Some(1001), None, "limit"), (None, Some("x"), "after")] {
            assert_eq!(Newest::asked(limit, after).expect_err(param).param(), Some(param));
        }
    }

    #[test]
    fn the_next_page_is_behind_the_last_row() {
        let listed = |has_more| Listed { rows: vec![Row { id: ID.to_owned(), value: 1 }], has_more };
        assert_eq!((listed(true).next(), listed(false).next()), (Some(ID), None));
        let header = |has_more| listed(has_more).with_next(Response::empty(204)).header("x-next-after").map(str::to_owned);
        assert_eq!((header(true).as_deref(), header(false)), (Some(ID), None));
    }

    #[test]
    fn an_owner_has_a_name_that_fits_a_key() {
        assert!(Rows::<String>::of("notes", &"a".repeat(OWNER_BYTES_MAX)).is_ok());
        for owner in ["", " \n", &"a".repeat(OWNER_BYTES_MAX + 1)] {
            let error = Rows::<String>::of("notes", owner).expect_err("no good name");
            assert_eq!(error.code, ErrorCode::InvalidInput);
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let entry = |value: &[u8]| Entry { key: "k".into(), value: value.into(), revision: 1 };
        assert_eq!(read::<String>(&entry(&write(&"ä\"\n").expect("JSON"))).expect("a text"), "ä\"\n");
        assert_eq!(read::<String>(&entry(b"7")).expect_err("no text").code, ErrorCode::Internal);
    }
}
