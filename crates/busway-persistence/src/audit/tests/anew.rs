//! Chains and heads that were touched, cut, and made anew.

use super::*;

/// Removes the records from an offset on, and what speaks of them.
pub(super) fn cut(dir: &Path, from: u64, with_links: bool) {
    Forger::at(dir).change(|txn, open| {
        let range = (std::ops::Bound::Included(&from.to_be_bytes()[..]), std::ops::Bound::Unbounded);
        open("segment/1/0").delete_range(txn, &range).unwrap();
        if with_links {
            let (first, last) = (key(LEDGER, from), key(LEDGER, u64::MAX));
            let range = (std::ops::Bound::Included(&first[..]), std::ops::Bound::Included(&last[..]));
            open("links").delete_range(txn, &range).unwrap();
            open("heads").delete_range(txn, &range).unwrap();
        }
    });
}

#[test]
fn a_cut_end_is_found_against_a_head_that_was_kept_elsewhere_and_otherwise_not() {
    for is_keyed in [false, true] {
        let (dir, heads) = written(is_keyed);
        cut(dir.path(), 36, true);
        assert!(verify(dir.path(), is_keyed, Vec::new()).is_sound(), "nothing in the store speaks of it");
        let verified = verify(dir.path(), is_keyed, heads[heads.len() - 1..].to_vec());
        assert!(places(&verified.damaged)[0].ends_with("of partition 0 of stream ledger"), "{verified:?}");
        // The head before the cut still fits.
        let verified = verify(dir.path(), is_keyed, heads[..1].to_vec());
        assert_eq!((verified.is_sound(), verified.audits[0].heads), (true, 1));
    }
}

/// Alters a record and makes the whole chain and all heads anew, with the hashes that the forger has.
fn rewrite(dir: &Path, altered: u64, hashing: &Hashing) {
    alter(dir, altered);
    let meta = std::fs::read(dir.join("manifest")).unwrap();
    let store = uuid::Uuid::from_slice(&meta[12..28]).unwrap();
    // What the texts behind the numbers are is no secret.
    let topic = |offset: u64| match offset {
        36.. => "ledger.large",
        _ if (1..9)
            .scan(0, |end, run| {
                *end += run;
                Some((*end, run))
            })
            .find(|(end, _)| offset < *end)
            .unwrap()
            .1
            % 2
            == 0 =>
        {
            "ledger.even"
        }
        _ => "ledger.odd",
    };
    Forger::at(dir).change(|txn, open| {
        let links: Vec<(Vec<u8>, LinkRow)> = open("links")
            .prefix_iter(txn, &LEDGER.to_be_bytes())
            .unwrap()
            .map(|entry| {
                let (place, value) = entry.unwrap();
                (place.to_vec(), row::decode("link", place, value).unwrap())
            })
            .collect();
        let (mut chain, mut next) = (hashing.genesis(store, "ledger", LEDGER, 0), 0_u64);
        for (place, _) in links {
            let last = crate::audit::rows::offset_of(&place).unwrap();
            let (mut run, mut marks) = (Vec::new(), Vec::new());
            for offset in next..=last {
                let value = value(txn, open("segment/1/0"), offset);
                let chunks: Vec<Vec<u8>> = (0..9)
                    .map_while(|number| {
                        open("segment/1/0").get(txn, &chunk_key(offset, number)).unwrap().map(<[u8]>::to_vec)
                    })
                    .collect();
                let hash =
                    hashing.record(&event(topic(offset), 0, 1), &value, chunks.iter().map(Vec::as_slice));
                add_to_run(&mut run, LEDGER, offset, &hash);
                marks.push(mark(&hash));
            }
            chain = hashing.link(&chain, &run);
            next = last + 1;
            open("links").put(txn, &place, &row::encode(&place, &LinkRow { chain, marks }).unwrap()).unwrap();
            if open("heads").get(txn, &place).unwrap().is_some() {
                let head = AuditHead {
                    store,
                    stream: "ledger".to_owned(),
                    partition: 0,
                    offset: last,
                    chain,
                    time: at(0),
                    proof: [0; 32],
                };
                let AuditHead { time, proof, .. } = head.prove(hashing);
                let head = HeadRow { chain, time: time.as_nanos(), proof };
                open("heads").put(txn, &place, &row::encode(&place, &head).unwrap()).unwrap();
            }
        }
    });
}

#[test]
fn who_makes_the_whole_chain_anew_is_found_by_the_key_or_by_a_head_that_was_kept_elsewhere() {
    // Without a key: all of it can be made anew, and then only a head that he could not reach speaks against him.
    let (dir, heads) = written(false);
    rewrite(dir.path(), 7, &Hashing::new(None));
    assert!(verify(dir.path(), false, Vec::new()).is_sound(), "the store cannot know");
    let verified = verify(dir.path(), false, heads);
    assert!(verified.damaged[0].reason.starts_with("not those that a head vouches for"), "{verified:?}");
    assert_eq!(
        verified.audits[0].heads, 1,
        "that of the very first record, which lies before what was altered"
    );
    // With a key that he does not have.
    for his in [Hashing::new(None), Hashing::new(Some(AuditKey::new([8; 32])))] {
        let (dir, _) = written(true);
        rewrite(dir.path(), 7, &his);
        let verified = verify(dir.path(), true, Vec::new());
        assert!(
            places(&verified.damaged).contains(&"record 7 of partition 0 of stream ledger"),
            "{verified:?}"
        );
    }
}

#[test]
fn links_and_heads_that_were_touched_are_found() {
    let all: [fn(&mut RwTxn<'_>, Db<'_>, Db<'_>); 4] = [
        |txn, links, _| assert!(links.delete(txn, &key(LEDGER, 5)).unwrap()),
        |txn, links, _| {
            let place = key(LEDGER, 5);
            let mut link: LinkRow =
                row::decode("link", &place, links.get(txn, &place).unwrap().unwrap()).unwrap();
            link.chain[0] ^= 1;
            links.put(txn, &place, &row::encode(&place, &link).unwrap()).unwrap();
        },
        |txn, links, _| {
            let place = key(LEDGER, 5);
            let mut link = links.get(txn, &place).unwrap().unwrap().to_vec();
            link[9] ^= 1;
            links.put(txn, &place, &link).unwrap();
        },
        |txn, _, heads| {
            let (place, value) = heads.last(txn).unwrap().unwrap();
            let (place, mut head): (Vec<u8>, HeadRow) =
                (place.to_vec(), row::decode("head", place, value).unwrap());
            head.time += 1;
            heads.put(txn, &place, &row::encode(&place, &head).unwrap()).unwrap();
        },
    ];
    for touch in all {
        let (dir, _) = written(true);
        Forger::at(dir.path()).change(|txn, open| touch(txn, open("links"), open("heads")));
        assert!(!verify(dir.path(), true, Vec::new()).is_sound());
    }
}
