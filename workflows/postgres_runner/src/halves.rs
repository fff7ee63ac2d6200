//! Work on many things at once of which one may make all of it fail: by halves, until that one is alone and
//! the others are done. Knows nothing of the work.

/// Parts that are still to be worked on.
pub(crate) struct Halves<'a, T>(Vec<&'a [T]>);

impl<'a, T> Halves<'a, T> {
    /// Begins with all of them together.
    pub(crate) fn of(all: &'a [T]) -> Self {
        Self(vec![all])
    }

    /// Returns the next part, first ones first.
    pub(crate) fn next(&mut self) -> Option<&'a [T]> {
        self.0.pop()
    }

    /// Takes a part that failed: returns the one that makes it fail, if it is alone, and puts others back as
    /// two parts.
    pub(crate) fn split(&mut self, failed: &'a [T]) -> Option<&'a T> {
        if failed.len() <= 1 {
            return failed.first();
        }
        let (first, second) = failed.split_at(failed.len() / 2);
        self.0.extend([second, first]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_fails_is_found_and_the_others_are_done_in_order() {
        let all = [1, 2, 3, 4, 5, 6, 7];
        let (mut done, mut found) = (Vec::new(), Vec::new());
        let mut halves = Halves::of(&all);
        while let Some(part) = halves.next() {
            if part.contains(&5) {
                found.extend(halves.split(part));
            } else {
                done.extend_from_slice(part);
            }
        }
        assert_eq!((done, found), (vec![1, 2, 3, 4, 6, 7], vec![&5]));
    }
}
