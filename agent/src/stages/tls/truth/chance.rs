//! Chains by chance: authorities of few names that sign one another, with faults strewn in. Go and we must tell the
//! same fault first.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
};

use super::super::forge::{Made, alone, authority, dated, odd_extension, server};
use super::{Case, OK, ask_go, case, judged};

/// A small generator (Knuth's MMIX constants), so that a seed tells the whole run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

fn some_authority(chance: &mut Chance) -> CertificateParams {
    let mut params = authority(["A", "B", "C"][chance.below(3)]);
    if chance.percent(15) {
        params = dated(params, -90, -1);
    }
    if chance.percent(15) {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(chance.below(2) as u8));
    }
    if chance.percent(8) {
        params.is_ca = IsCa::ExplicitNoCa;
    }
    if chance.percent(8) {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    }
    if chance.percent(8) {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }
    if chance.percent(8) {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("other.test".into())];
        let constraints = rcgen::NameConstraints { permitted_subtrees, excluded_subtrees: vec![] };
        params.name_constraints = Some(constraints);
    }
    if chance.percent(5) {
        params.custom_extensions.push(odd_extension());
    }
    params.use_authority_key_identifier_extension = chance.percent(50);
    params
}

fn some_case(chance: &mut Chance) -> Case {
    let mut authorities: Vec<Made> = Vec::new();
    for _ in 0..2 + chance.below(6) {
        let params = some_authority(chance);
        let is_root = authorities.is_empty() || chance.percent(25);
        let next =
            if is_root { alone(params) } else { authorities[chance.below(authorities.len())].issue(params) };
        authorities.push(next);
    }
    let mut leaf = server(&[if chance.percent(5) { "other.test" } else { "registry.test" }]);
    if chance.percent(5) {
        leaf = dated(leaf, -90, -1);
    }
    let leaf = authorities[chance.below(authorities.len())].issue(leaf);
    let roots: Vec<&Made> = authorities.iter().filter(|_| chance.percent(40)).collect();
    let mut chain = vec![&leaf];
    for other in &authorities {
        if chance.percent(75) {
            let place = 1 + chance.below(chain.len());
            chain.insert(place, other);
        }
    }
    case("by chance", &chain, &roots, OK, "")
}

#[test]
fn go_tells_the_same_fault_first_of_chains_by_chance() {
    let mut chance = Chance(20_261_122);
    let cases: Vec<Case> = (0..2_000).map(|_| some_case(&mut chance)).collect();
    let mut good = 0;
    let mut wrong = Vec::new();
    for (number, (case, told)) in cases.iter().zip(ask_go(&cases)).enumerate() {
        let ours = judged(case).rejected().map_or(OK.to_owned(), |rejected| rejected.first().go_words());
        good += usize::from(ours == OK);
        if !told.starts_with(&ours) {
            wrong.push(format!("{number}: Go: {told}; we: {ours}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!((200..1_800).contains(&good), "both kinds must be there: {good} of {}", cases.len());
}
