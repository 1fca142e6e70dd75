//! Tests the steps of the Mersenne Twister and the selection of its words.

use super::*;

/// Advances a state word by word.
fn plain_twist(state: &mut [u32; STATE_WORDS]) {
    for i in 0..STATE_WORDS {
        let mixed = state[i] & 0x8000_0000 | state[(i + 1) % STATE_WORDS] & 0x7fff_ffff;
        let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
        state[i] = state[(i + 397) % STATE_WORDS] ^ mixed >> 1 ^ odd;
    }
}

fn check_words(kernel: impl Kernel, state: &[u32; STATE_WORDS]) {
    let (mut twisted, mut expected) = (*state, *state);
    let mut outputs = [[0; _]; STATE_WORDS];
    for _ in 0..3 {
        kernel.twist(&mut twisted);
        plain_twist(&mut expected);
        assert_eq!(twisted, expected, "{}", kernel.name());
        kernel.temper(&twisted, &mut outputs);
        assert_eq!(
            outputs.map(u32::from_le_bytes),
            expected.map(tempered),
            "{}",
            kernel.name()
        );
    }
}

fn check_select_low(kernel: impl Kernel, words: &[WordBytes], mask: u32, top: u32) {
    // The last word of the list has no room behind it.
    let mut kept = vec![[7; 4]; words.len()];
    let n = kernel.select_low(words, mask, top, &mut kept);
    let masked = words.iter().map(|&word| u32::from_le_bytes(word) & mask);
    let expected: Vec<u32> = masked.filter(|&word| word <= top).collect();
    let kept: Vec<u32> = kept[..n].iter().map(|&word| u32::from_le_bytes(word)).collect();
    assert_eq!(kept, expected, "{}", kernel.name());
}

proptest! {
    #[test]
    fn states_are_those_of_the_definition(seed: u64) {
        let mut random = Random::new(seed);
        let state = std::array::from_fn(|_| random.word() as u32);
        for_every_kernel!(check_words(&state));
    }

    #[test]
    fn select_low_keeps_words_in_their_order(n in 0..=STATE_WORDS, bits in 1_u32..=32, top in 0.0..=1.0_f64, seed: u64) {
        let mut random = Random::new(seed);
        let mask = u32::MAX >> (32 - bits);
        // The largest bit of `top` is that of the mask.
        let half = mask / 2 + 1;
        let tops = [half, mask, half + (f64::from(mask - half) * top) as u32];
        // Some words are the highest low one, or the lowest high one.
        let near = |top: u32, random: &mut Random| if random.one_in(4) { top.wrapping_add(random.below(2) as u32) } else { random.word() as u32 };
        for top in tops {
            let words: Vec<WordBytes> = (0..n).map(|_| near(top, &mut random).to_le_bytes()).collect();
            for_every_kernel!(check_select_low(&words, mask, top));
        }
    }
}
