//! Where a pull stands, and when it is given up.

use super::*;

fn ingest(reference: &str, offset: u64) -> Ingest {
    Ingest { reference: reference.to_owned(), offset, total: 30_000_000, foreign: false }
}

fn known(digests: &[&str], manifest_came: bool) -> Known {
    let digests: Vec<_> = digests.iter().map(|digest| (*digest).to_owned()).collect();
    Known { digests: digests.iter().cloned().collect(), layers: digests, manifest_came }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn nothing_fetched_is_resolving() {
    assert_eq!(Watch::new(vec![]).standing(&Known::default(), at(120)), Standing::Resolving);
}

#[test]
fn a_blob_that_does_not_grow_has_stuck_since_its_last_byte() {
    let mut watch = Watch::new(vec![]);
    watch.note(at(1), vec![ingest("layer-sha256:aa", 0)]);
    watch.note(at(10), vec![ingest("layer-sha256:aa", 1_200_000)]);
    watch.note(at(119), vec![ingest("layer-sha256:aa", 1_200_000)]);
    let known = known(&["sha256:zz", "sha256:aa"], true);
    let standing = watch.standing(&known, at(120));
    assert_eq!(
        standing.words(&known),
        "no progress for 110 s at layer 2 of 2 sha256:aa… (1.2 MB of 30.0 MB)"
    );
    assert_eq!(standing.phase(), Phase::Layers);
}

#[test]
fn of_several_blobs_the_stillest_is_told() {
    let mut watch = Watch::new(vec![]);
    watch.note(at(1), vec![ingest("layer-sha256:aa", 1), ingest("layer-sha256:bb", 1)]);
    watch.note(at(119), vec![ingest("layer-sha256:aa", 1), ingest("layer-sha256:bb", 2)]);
    let standing = watch.standing(&known(&["sha256:aa", "sha256:bb"], true), at(120));
    assert!(matches!(standing, Standing::Stuck { ingest, .. } if ingest.reference == "layer-sha256:aa"));
}

#[test]
fn another_images_blob_is_not_blamed() {
    let mut watch = Watch::new(vec![]);
    watch.note(at(1), vec![ingest("layer-sha256:cc", 5)]);
    assert_eq!(watch.standing(&Known::default(), at(120)), Standing::Resolving);
    assert_eq!(watch.standing(&known(&["sha256:aa"], true), at(120)), Standing::Unpacking);
}

#[test]
fn a_manifest_that_does_not_come_is_ours_if_it_is_new() {
    let mut watch = Watch::new(vec![ingest("manifest-sha256:old", 0)]);
    assert_eq!(watch.standing(&Known::default(), at(120)), Standing::Resolving);
    watch.note(at(1), vec![ingest("manifest-sha256:new", 0)]);
    let words = watch.standing(&Known::default(), at(120)).words(&Known::default());
    assert!(words.contains("no progress for 119 s at manifest sha256:new"), "{words}");
}

#[test]
fn data_that_still_comes_is_slow_and_not_stuck() {
    let mut watch = Watch::new(vec![]);
    watch.note(at(1), vec![ingest("layer-sha256:aa", 1)]);
    watch.note(at(119), vec![ingest("layer-sha256:aa", 2)]);
    assert!(matches!(watch.standing(&known(&["sha256:aa"], true), at(120)), Standing::Slow(_)));
}

#[test]
fn another_pull_of_the_same_blob_is_waited_for_or_stuck_itself() {
    let ours = known(&["sha256:aa"], false);
    let mut watch = Watch::new(vec![ingest("layer-sha256:aa", 1)]);
    watch.note(at(119), vec![ingest("layer-sha256:aa", 1)]);
    let standing = watch.standing(&ours, at(120));
    assert!(standing.words(&ours).contains("another pull"), "{}", standing.words(&ours));
    assert!(matches!(standing, Standing::Stuck { others: true, .. }) && standing.is_others());
    watch.note(at(120), vec![ingest("layer-sha256:aa", 9)]);
    assert!(matches!(watch.standing(&ours, at(120)), Standing::Waits(_)));
}

#[test]
fn a_blob_that_is_complete_is_forgotten() {
    let mut watch = Watch::new(vec![]);
    watch.note(at(1), vec![ingest("layer-sha256:aa", 1)]);
    watch.note(at(2), vec![]);
    assert_eq!(watch.standing(&known(&["sha256:aa"], true), at(120)), Standing::Unpacking);
}

const PACE: Pace = Pace { stall: Duration::from_secs(30), min_rate: 0 };

#[test]
fn thirty_seconds_without_a_byte_are_a_stall() {
    let ours = known(&["sha256:aa"], true);
    let mut watch = Watch::new(vec![]);
    watch.note(at(1), vec![ingest("layer-sha256:aa", 0)]);
    watch.note(at(5), vec![ingest("layer-sha256:aa", 1_200_000)]);
    assert_eq!(watch.given_up(&ours, at(34), PACE), None);
    assert_eq!(watch.given_up(&ours, at(35), PACE), Some(Given::Stalled));
}

#[test]
fn the_first_byte_may_take_as_long_as_containerds_own_time_outs() {
    let ours = known(&["sha256:aa"], true);
    let mut watch = Watch::new(vec![]);
    watch.note(at(1), vec![ingest("layer-sha256:aa", 0)]);
    assert_eq!(watch.given_up(&ours, at(41), PACE), None);
    assert_eq!(watch.given_up(&ours, at(46), PACE), Some(Given::Stalled));
    let none = Known::default();
    assert_eq!(Watch::new(vec![]).given_up(&none, at(80), PACE), None);
    assert_eq!(Watch::new(vec![]).given_up(&none, at(90), PACE), Some(Given::Stalled));
}

#[test]
fn one_layer_that_moves_speaks_for_all() {
    let ours = known(&["sha256:aa", "sha256:bb"], true);
    let mut watch = Watch::new(vec![]);
    watch.note(at(1), vec![ingest("layer-sha256:aa", 5), ingest("layer-sha256:bb", 5)]);
    watch.note(at(60), vec![ingest("layer-sha256:aa", 5), ingest("layer-sha256:bb", 9)]);
    assert_eq!(watch.given_up(&ours, at(80), PACE), None);
    // One that is complete has moved too.
    watch.note(at(80), vec![ingest("layer-sha256:aa", 5)]);
    assert_eq!(watch.given_up(&ours, at(100), PACE), None);
}

#[test]
fn another_images_bytes_are_no_progress_of_ours() {
    let ours = known(&["sha256:aa"], true);
    let mut watch = Watch::new(vec![]);
    watch.note(at(1), vec![ingest("layer-sha256:aa", 5), ingest("layer-sha256:cc", 5)]);
    watch.note(at(31), vec![ingest("layer-sha256:aa", 5), ingest("layer-sha256:cc", 9)]);
    assert_eq!(watch.given_up(&ours, at(31), PACE), Some(Given::Stalled));
}

#[test]
fn unpacking_is_never_a_stall() {
    assert_eq!(Watch::new(vec![]).given_up(&known(&["sha256:aa"], true), at(3000), PACE), None);
}

#[test]
fn too_few_bytes_a_second_are_told_with_both_rates() {
    let ours = known(&["sha256:aa"], true);
    let pace = Pace { min_rate: 10_000, ..PACE };
    let mut watch = Watch::new(vec![]);
    watch.note(at(0), vec![ingest("layer-sha256:aa", 0)]);
    watch.note(at(29), vec![ingest("layer-sha256:aa", 200_000)]);
    assert_eq!(watch.given_up(&ours, at(29), pace), None, "not before the stall's time");
    watch.note(at(40), vec![ingest("layer-sha256:aa", 200_001)]);
    assert_eq!(watch.given_up(&ours, at(40), pace), Some(Given::Slow { rate: 5000, least: 10_000 }));
    assert_eq!(watch.given_up(&ours, at(40), PACE), None, "no rate is asked for");
}

#[test]
fn what_another_namespace_fetches_is_another_pulls() {
    let mut foreign = ingest("layer-sha256:aa", 1);
    foreign.foreign = true;
    let mut watch = Watch::new(vec![]);
    watch.note(at(1), vec![foreign]);
    let standing = watch.standing(&known(&["sha256:aa"], true), at(120));
    assert!(standing.is_others(), "{standing:?}");
}
