//! What a thread keeps for its publishes on a bus: empty envelopes, so that publishing allocates nothing once it runs.

use std::any::{Any, TypeId};
use std::cell::RefCell;

use busway_event::{AnyEvent, Envelopes, EventType, Spent};

/// See the module. Borrowed for moments; user code that publishes from within one of them (a payload's key, its drop) finds
/// the desk taken and does without.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    papers: RefCell<Papers>,
}

#[derive(Debug, Default)]
struct Papers {
    /// One entry a payload type, the latest used first.
    envelopes: Vec<(TypeId, Box<dyn Any + Send>)>,
    spent: Spent,
}

impl Desk {
    /// Makes an event in an envelope of this desk.
    pub(crate) fn with_envelopes<T: EventType, R>(&self, make: impl FnOnce(&mut Envelopes<T>) -> R) -> R {
        match self.papers.try_borrow_mut() {
            Ok(mut papers) => match papers.envelopes_of::<T>() {
                Some(envelopes) => make(envelopes),
                None => make(&mut Envelopes::new()),
            },
            Err(_) => make(&mut Envelopes::new()),
        }
    }

    /// Lets go of an event that was handled on this thread.
    pub(crate) fn let_go(&self, event: AnyEvent) {
        if let Ok(mut papers) = self.papers.try_borrow_mut() {
            papers.spent.put(event);
        }
    }
}

impl Papers {
    fn envelopes_of<T: EventType>(&mut self) -> Option<&mut Envelopes<T>> {
        let wanted = TypeId::of::<T>();
        match self.envelopes.iter().position(|(id, _)| *id == wanted) {
            Some(0) => {}
            Some(at) => self.envelopes.swap(0, at),
            None => {
                self.envelopes.truncate(TYPES_MAX - 1);
                self.envelopes.insert(0, (wanted, Box::new(Envelopes::<T>::new())));
            }
        }
        self.envelopes.first_mut()?.1.downcast_mut()
    }
}

/// Payload types whose envelopes a thread keeps.
const TYPES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use busway_event::{EventId, Metadata, Raw, Stamp, Timestamp, Topic};

    use super::*;

    fn event(desk: &Desk) -> AnyEvent {
        let metadata = Metadata::draft("test", 1).build().unwrap();
        let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(7), &metadata);
        let topic = Topic::new("a").unwrap();
        let made = desk.with_envelopes(|envelopes| envelopes.event(&topic, Raw::from("x"), &stamp));
        made.map_err(|(_, reason)| reason).unwrap().into()
    }

    #[test]
    fn a_desk_that_is_taken_is_done_without() {
        let desk = Desk::default();
        let taken = desk.papers.borrow_mut();
        let one = event(&desk);
        desk.let_go(one);
        drop(taken);
        desk.let_go(event(&desk));
    }

    #[test]
    fn the_types_that_a_desk_keeps_are_bounded() {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        struct Numbered<const N: usize>;
        impl<const N: usize> EventType for Numbered<N> {
            const NAME: &'static str = "numbered";
        }
        macro_rules! use_types {
            ($desk:ident: $($n:literal)*) => { $($desk.with_envelopes(|_: &mut Envelopes<Numbered<$n>>| ());)* };
        }
        let desk = Desk::default();
        use_types!(desk: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        assert_eq!(desk.papers.borrow().envelopes.len(), TYPES_MAX);
        desk.with_envelopes(|_: &mut Envelopes<Numbered<10>>| ());
        assert_eq!(desk.papers.borrow().envelopes.first().unwrap().0, TypeId::of::<Numbered<10>>());
    }
}
