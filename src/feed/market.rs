//! The simulated market, which generates quotes from a seed.

use std::fmt;

use bytes::Bytes;

use super::split_mix::SplitMix64;
use crate::clock::Timestamp;

/// The mean of a symbol's volatility: the standard deviation of the move from one quote to the next, relative to the
/// price.
const VOLATILITY: f64 = 0.0004;
/// Mean-reversion rate of the volatility, per quote.
const VOLATILITY_REVERSION: f64 = 0.05;
/// Mean-reversion rate of the price towards the first price, per quote.
const PRICE_REVERSION: f64 = 0.0005;
/// The lowest price, in cents. The bid below it is above zero.
const CENTS_MIN: f64 = 100.0;
/// Shares in a lot.
const LOT: u64 = 100;

/// Quotes of shares, in steps of 0.01. The same seed, symbols and order of calls give the same quotes.
#[derive(Debug)]
pub(super) struct Market {
    symbols: Vec<Share>,
}

#[derive(Debug)]
struct Share {
    symbol: String,
    /// Its first price, to which the price reverts, in cents.
    first: f64,
    /// The price before rounding, in cents.
    price: f64,
    volatility: f64,
    random: SplitMix64,
}

/// A price in cents, formatted with two decimals.
struct Price(u64);

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl Market {
    /// A market with `symbols`. Each has its own random numbers, so that an additional symbol does not change the
    /// prices of the others.
    pub fn new(symbols: &[String], seed: u64) -> Self {
        let share = |symbol: &String| {
            let own = symbol.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
            let mut random = SplitMix64::new(own);
            let first = first_price(symbol).unwrap_or_else(|| 2_000.0 + random.even() * 40_000.0);
            Share { symbol: symbol.clone(), first, price: first, volatility: VOLATILITY, random }
        };
        Self { symbols: symbols.iter().map(share).collect() }
    }

    /// The next quote of the symbol at `index`, which must exist; `now` is its `ts`.
    pub fn quote(&mut self, index: usize, now: Timestamp) -> Bytes {
        let share = &mut self.symbols[index];
        let (cents, half_spread) = share.step();
        let volume = share.volume();
        let (price, bid, ask) = (Price(cents), Price(cents - half_spread), Price(cents + half_spread));
        let (symbol, ts) = (&share.symbol, now.0);
        Bytes::from(format!(r#"{{"stock_id":"{symbol}","price":{price},"bid":{bid},"ask":{ask},"volume":{volume},"ts":{ts}}}"#))
    }
}

impl Share {
    /// Moves the price. Returns the price and half the spread, both in cents.
    fn step(&mut self) -> (u64, u64) {
        let reversion = VOLATILITY_REVERSION * (VOLATILITY - self.volatility);
        let stir = 0.15 * self.volatility * self.random.normal();
        self.volatility = (self.volatility + reversion + stir).clamp(VOLATILITY / 4.0, VOLATILITY * 4.0);
        let drift = PRICE_REVERSION * (self.first / self.price - 1.0);
        self.price = (self.price * (1.0 + drift + self.volatility * self.random.normal())).max(CENTS_MIN);
        // The spread grows with the volatility: about a quarter of an average move, at least one cent.
        let half_spread = (self.price * self.volatility * 0.25 * (0.5 + self.random.even())).round().clamp(1.0, 50.0);
        (self.price.round() as u64, half_spread as u64)
    }

    /// The volume of a quote: mostly small, seldom large, growing with the volatility.
    fn volume(&mut self) -> u64 {
        let even = self.random.even();
        let lots = 1.0 + 12.0 * even * even * even * (1.0 + self.volatility / VOLATILITY);
        lots as u64 * LOT
    }
}

/// The first prices of well-known shares, in cents.
fn first_price(symbol: &str) -> Option<f64> {
    Some(match symbol {
        "AAPL" => 18_731.0,
        "MSFT" => 41_520.0,
        "GOOG" => 17_275.0,
        "AMZN" => 18_540.0,
        "TSLA" => 24_810.0,
        "NVDA" => 12_690.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotes(seed: u64, count: usize) -> Vec<String> {
        let mut market = Market::new(&["AAPL".into(), "XYZ".into()], seed);
        (0..count).map(|i| String::from_utf8(market.quote(i % 2, Timestamp(1_732_233_600_123)).to_vec()).unwrap()).collect()
    }

    fn cents(quote: &str, key: &str) -> i64 {
        let text = quote.split(&format!("\"{key}\":")).nth(1).unwrap().split(',').next().unwrap();
        let (whole, decimals) = text.split_once('.').unwrap();
        assert_eq!(decimals.len(), 2, "{quote}");
        format!("{whole}{decimals}").parse().unwrap()
    }

    /// PROTOCOL 8: the fields of a quote, in their order and shape.
    #[test]
    fn a_quote_has_the_fields_of_the_contract() {
        let quote = &quotes(7, 1)[0];
        let rest = quote.strip_prefix(r#"{"stock_id":"AAPL","price":"#).unwrap();
        assert!(rest.ends_with(r#","ts":1732233600123}"#), "{quote}");
        let value: serde_json::Value = serde_json::from_str(quote).unwrap();
        assert!(value["volume"].as_u64().unwrap().is_multiple_of(LOT));
        assert_eq!(Price(18_700).to_string(), "187.00");
        assert_eq!(Price(9_905).to_string(), "99.05");
    }

    /// The price is between bid and ask. It moves, and by at most 2 % at a time.
    #[test]
    fn prices_move_in_small_steps() {
        for seed in 1..20 {
            let quotes = quotes(seed, 4_000);
            let own: Vec<_> = quotes.iter().step_by(2).collect();
            for pair in own.windows(2) {
                let (before, after) = (cents(pair[0], "price"), cents(pair[1], "price"));
                assert!((after - before).abs() * 100 <= before * 2, "{pair:?}");
            }
            for quote in &quotes {
                let (bid, price, ask) = (cents(quote, "bid"), cents(quote, "price"), cents(quote, "ask"));
                assert!(0 < bid && bid < price && price < ask && ask - bid <= price / 50 + 2, "{quote}");
            }
            let moved = own.windows(2).filter(|pair| cents(pair[0], "price") != cents(pair[1], "price")).count();
            assert!(moved > own.len() / 2, "{moved}");
            assert!((9_000..40_000).contains(&cents(own[own.len() - 1], "price")), "{:?}", own[own.len() - 1]);
        }
    }

    #[test]
    fn a_seed_determines_the_quotes() {
        assert_eq!(quotes(7, 50), quotes(7, 50));
        assert_ne!(quotes(7, 50), quotes(8, 50));
        let mut alone = Market::new(&["XYZ".into()], 7);
        assert_eq!(alone.quote(0, Timestamp(1_732_233_600_123)), quotes(7, 2)[1].as_bytes());
    }
}
