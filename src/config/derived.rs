//! A value that is computed from a list, and again only when the list has changed.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use super::lines::Lines;

/// The values of how many recipients' own lists are kept.
const MOST_OWN: usize = 8;

/// A value computed from the list `name`, such as a compiled set of patterns. The computed value
/// is kept for as long as the texts of the list stay the same.
pub struct Derived<T> {
    name: Cow<'static, str>,
    parse: Box<dyn Fn(&Lines) -> T>,
    last: RefCell<Vec<(Lines, Rc<T>)>>,
    /// Those of lists that recipients have of their own, the last one first.
    own: RefCell<Vec<(Lines, Rc<T>)>>,
}

impl<T: 'static> Derived<T> {
    /// The value that `parse` makes of the list `name`. Nothing is read or computed yet.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        parse: impl Fn(&Lines) -> T + 'static,
    ) -> Derived<T> {
        let (last, own) = (RefCell::default(), RefCell::default());
        Derived { name: name.into(), parse: Box::new(parse), last, own }
    }

    /// The value for `lines`, which is what the configuration has under this name now.
    pub fn of(&self, lines: &Lines) -> Rc<T> {
        self.among(&self.last, 1, lines)
    }

    /// The value for `lines`, which a recipient has of its own under this name.
    pub(crate) fn of_own(&self, lines: &Lines) -> Rc<T> {
        self.among(&self.own, MOST_OWN, lines)
    }

    /// The value for `lines` from among those that are kept, `most` at the most.
    fn among(&self, kept: &RefCell<Vec<(Lines, Rc<T>)>>, most: usize, lines: &Lines) -> Rc<T> {
        if let Some((list, value)) = kept.borrow().first()
            && list.same(lines)
        {
            return Rc::clone(value);
        }
        let mut all = kept.take();
        let at = all.iter().position(|(list, _)| list.same(lines) || list.iter().eq(lines.iter()));
        let value = match at {
            Some(at) => all.remove(at).1,
            None => Rc::new((self.parse)(lines)),
        };
        all.truncate(most - 1);
        all.insert(0, (lines.clone(), Rc::clone(&value)));
        kept.replace(all);
        value
    }

    /// The name of the list.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn lines(texts: &[&str]) -> Lines {
        Lines::from_values(texts.iter().map(|text| text.to_string()).collect())
    }

    #[test]
    fn computes_once_per_change() {
        let count = Rc::new(Cell::new(0));
        let counter = Rc::clone(&count);
        let total = Derived::new("sizes", move |lines| {
            counter.set(counter.get() + 1);
            lines.iter().filter_map(|text| text.parse::<u32>().ok()).sum::<u32>()
        });
        assert_eq!((total.name(), count.get()), ("sizes", 0));

        let list = lines(&["1", "2"]);
        let first = total.of(&list);
        assert_eq!((*first, count.get()), (3, 1));
        assert!(Rc::ptr_eq(&first, &total.of(&list.clone())));
        assert!(Rc::ptr_eq(&first, &total.of(&lines(&["1", "2"]))));
        assert_eq!(count.get(), 1);

        assert_eq!((*total.of(&lines(&["1", "2", "4"])), count.get()), (7, 2));
        assert_eq!((*total.of(&list), count.get()), (3, 3));
        assert_eq!((*total.of(&lines(&[])), count.get()), (0, 4));
    }

    #[test]
    fn lists_of_recipients_do_not_displace_one_another() {
        let count = Rc::new(Cell::new(0));
        let counter = Rc::clone(&count);
        let first = Derived::new("sizes", move |lines| {
            counter.set(counter.get() + 1);
            lines.first().map(str::to_owned)
        });
        let names: Vec<String> = (0..=MOST_OWN).map(|number| number.to_string()).collect();
        first.of(&lines(&["server"]));
        for name in names[1..].iter().chain(&names[1..]) {
            assert_eq!(first.of_own(&lines(&[name])).as_deref(), Some(name.as_str()));
        }
        assert_eq!(count.get(), 1 + MOST_OWN);
        first.of_own(&lines(&["0"]));
        first.of(&lines(&["server"]));
        first.of_own(&lines(&["2"]));
        assert_eq!(count.get(), 2 + MOST_OWN);
        first.of_own(&lines(&["1"]));
        assert_eq!(count.get(), 3 + MOST_OWN);
    }
}
