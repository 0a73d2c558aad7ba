//! A value that is computed from a list, and again only when the list has changed.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use super::lines::Lines;

/// A value computed from the list `name`, such as a compiled set of patterns. The computed value
/// is kept for as long as the texts of the list stay the same.
pub struct Derived<T> {
    name: Cow<'static, str>,
    parse: Box<dyn Fn(&Lines) -> T>,
    last: RefCell<Option<(Lines, Rc<T>)>>,
}

impl<T: 'static> Derived<T> {
    /// The value that `parse` makes of the list `name`. Nothing is read or computed yet.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        parse: impl Fn(&Lines) -> T + 'static,
    ) -> Derived<T> {
        Derived { name: name.into(), parse: Box::new(parse), last: RefCell::new(None) }
    }

    /// The value for `lines`, which is what the configuration has under this name now.
    pub fn of(&self, lines: &Lines) -> Rc<T> {
        let last = self.last.take();
        let value = match last {
            Some((list, value)) if list.same(lines) || list.iter().eq(lines.iter()) => value,
            _ => Rc::new((self.parse)(lines)),
        };
        self.last.replace(Some((lines.clone(), Rc::clone(&value))));
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
}
