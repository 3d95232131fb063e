//! One value for each priority, found without an index that could be out of bounds.

use busway_event::Priority;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct PerPriority<T> {
    pub(crate) p0: T,
    pub(crate) p1: T,
    pub(crate) p2: T,
    pub(crate) p3: T,
}

impl<T> PerPriority<T> {
    pub(crate) const fn of(&self, priority: Priority) -> &T {
        match priority {
            Priority::P0 => &self.p0,
            Priority::P1 => &self.p1,
            Priority::P2 => &self.p2,
            Priority::P3 => &self.p3,
        }
    }

    pub(crate) const fn of_mut(&mut self, priority: Priority) -> &mut T {
        match priority {
            Priority::P0 => &mut self.p0,
            Priority::P1 => &mut self.p1,
            Priority::P2 => &mut self.p2,
            Priority::P3 => &mut self.p3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PerPriority;
    use busway_event::Priority;

    #[test]
    fn what_is_written_for_a_priority_is_read_for_that_one_only() {
        let mut values = PerPriority::<usize>::default();
        for priority in Priority::ALL {
            *values.of_mut(priority) = priority.index() + 1;
        }
        assert_eq!(values, PerPriority { p0: 1, p1: 2, p2: 3, p3: 4 });
        assert_eq!(Priority::ALL.map(|priority| *values.of(priority)), [1, 2, 3, 4]);
    }
}
