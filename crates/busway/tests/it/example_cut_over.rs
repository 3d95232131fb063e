//! The example of a cut-over says what it said.

use crate::example_process::stdout;

#[test]
fn each_order_is_packed_once_whoever_leads() {
    let text = stdout("24_cut_over", &[]);
    let packed: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("packing ")).collect();
    assert_eq!(packed, ["A-1", "A-2", "A-3", "A-4", "A-5", "A-6"], "{text}");
    let [_, remote] = text.split("Remote:\n").collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(remote.contains("2 came from the broker, 2 went there"), "{text}");
    assert!(text.ends_with("6 orders, 6 packed\n"), "{text}");
}
