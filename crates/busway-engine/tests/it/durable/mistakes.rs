//! What is wrong with transactions and tables is said.

use busway_engine::{
    BuildProblem, Bus, ReadTables as _, Refused, StoreTx, SubscribeProblem, Table, TransactionError, Tx,
    TxError, in_store,
};

use super::transactions::{TOTALS, open};
use super::{dir, stock};

/// Not declared.
const UNHEARD_OF: Table<u64, u64> = Table::new("unheard-of");

#[tokio::test]
async fn what_is_wrong_with_a_transaction_or_a_table_is_said() {
    let memory = Bus::memory().start().await.unwrap();
    let nothing = |_: &mut StoreTx<'_>| Ok::<(), TxError>(());
    assert!(matches!(memory.transaction(nothing).await, Err(TransactionError::NoStore)));
    assert!(matches!(memory.read(|_| Ok(())), Err(TransactionError::NoStore)));
    let refused = Bus::memory().table(&TOTALS).start().await.unwrap_err();
    assert!(matches!(refused.problems(), [BuildProblem::TableWithoutStore { table }] if table == "totals"));

    let dir = dir();
    let bus = open(&dir).await;
    let error = bus.read(|tables| tables.get(&UNHEARD_OF, &1)).unwrap_err();
    assert!(error.to_string().contains("no table \"unheard-of\"; declare it"), "{error}");
    let closed = Bus::clone(&bus);
    bus.finish().await;
    let error = closed.transaction(nothing).await.unwrap_err();
    assert!(matches!(error, TransactionError::Refused(Refused::Closed)), "{error:?}");
    assert!(closed.read(|_| Ok(())).is_err());
}

#[tokio::test]
async fn a_handler_that_takes_two_transactions_does_not_begin() {
    let dir = dir();
    let bus = open(&dir).await;
    let two = async |_: Tx, _: Tx| {};
    let error = stock(&bus).to(two).await.unwrap_err();
    assert!(matches!(error.problems(), [SubscribeProblem::Transactions { count: 2 }]), "{error}");
    let error = stock(&bus).to(in_store(|_: Tx, _: &mut StoreTx<'_>| {})).await.unwrap_err();
    assert!(error.to_string().contains("takes 2 transactions: one event has one"), "{error}");
    bus.finish().await;
}
