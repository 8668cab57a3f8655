//! `cargo xtask seed`: writes `seed/products.tsv` from the tables in `seed/vocabulary/`, byte for byte the same each
//! time. docs/seed.md has the columns.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, anyhow, ensure};

const PRODUCTS: &str = "seed/products.tsv";
const SELLERS: &str = "seed/vocabulary/sellers.tsv";
const FAMILIES: &str = "seed/vocabulary/families.tsv";

const HEADER: &str =
    "seller\tseller_name\tcity\tsku\ttitle\tcategory\tunit\tprice_rupiah\tstock\tweight_grams\tdescription\tattributes";

/// 42 small sellers of 25 products each: above a thousand, and each shop still fits a screen.
const PRODUCTS_PER_SELLER: usize = 25;

/// Prices in a shop end in 500 or 1,000 rupiah.
const PRICE_STEP_RUPIAH: u64 = 500;

/// One product in this many is sold out, and one in `LOW_ONE_IN` nearly: a catalog in which everything is at hand
/// shows nobody what the other stock levels look like.
const SOLD_OUT_ONE_IN: u64 = 50;
const LOW_ONE_IN: u64 = 12;
const LOW_STOCK_MAX: u64 = 4;

/// A small shop.
struct Seller<'a> {
    handle: &'a str,
    name: &'a str,
    city: &'a str,
    sku_prefix: &'a str,
    craft: &'a str,
    /// What the place is known for: motifs, origins, flavours.
    specialties: Vec<&'a str>,
}

/// Goods that every seller of a craft makes, in each of the seller's specialties.
struct Family<'a> {
    craft: &'a str,
    name: &'a str,
    category: &'a str,
    unit: &'a str,
    specialty_attribute: &'a str,
    size_attribute: &'a str,
    sizes: Vec<Size<'a>>,
    stock: RangeInclusive<u64>,
    /// With `{specialty}` and `{city}`.
    description: &'a str,
}

struct Size<'a> {
    label: &'a str,
    price_rupiah: RangeInclusive<u64>,
    weight_grams: u64,
}

/// Rewrites the file.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    let products = products(&read(root, SELLERS)?, &read(root, FAMILIES)?)?;
    fs::write(root.join(PRODUCTS), &products).with_context(|| format!("cannot write {PRODUCTS}"))?;
    eprintln!("{PRODUCTS}: {} products", products.lines().count().saturating_sub(1));
    Ok(())
}

fn read(root: &Path, path: &str) -> anyhow::Result<String> {
    fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
}

/// The whole file, a function of the two tables.
fn products(sellers: &str, families: &str) -> anyhow::Result<String> {
    let families = rows(families).map(|row| family(&row)).collect::<anyhow::Result<Vec<_>>>().context(FAMILIES)?;
    let mut text = format!("{HEADER}\n");
    for row in rows(sellers) {
        let seller = seller(&row).context(SELLERS)?;
        let offered: Vec<&Family<'_>> = families.iter().filter(|family| family.craft == seller.craft).collect();
        for line in shop(&seller, &offered).with_context(|| format!("shop {}", seller.handle))? {
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok(text)
}

/// One seller's products: a draw from all that the seller could make, in a shop's order.
fn shop(seller: &Seller<'_>, families: &[&Family<'_>]) -> anyhow::Result<Vec<String>> {
    // Seeded by the handle, so that a new seller changes nobody else's goods.
    let mut random = SplitMix64::seeded_by(seller.handle);
    let mut possible = Vec::new();
    for family in families {
        for specialty in &seller.specialties {
            // How fine this piece is within its family; one draw for all sizes keeps larger ones dearer.
            let finesse_permille = random.below(1_001);
            possible.extend(family.sizes.iter().map(|size| (*family, *specialty, size, finesse_permille)));
        }
    }
    ensure!(
        possible.len() >= PRODUCTS_PER_SELLER,
        "{} products are possible, {PRODUCTS_PER_SELLER} needed",
        possible.len()
    );
    let mut spare = u64::try_from(possible.len() - PRODUCTS_PER_SELLER)?;
    let mut lines = Vec::new();
    for (left, (family, specialty, size, finesse_permille)) in (1..=u64::try_from(possible.len())?).rev().zip(possible)
    {
        // Selection sampling: each product is left out with the probability that leaves exactly enough.
        if random.below(left) < spare {
            spare -= 1;
            continue;
        }
        let sku = format!("{}-{:03}", seller.sku_prefix, lines.len() + 1);
        let (low, high) = size.price_rupiah.clone().into_inner();
        let price = (low + (high - low) * finesse_permille / 1_000).next_multiple_of(PRICE_STEP_RUPIAH);
        let description = family.description.replace("{specialty}", specialty).replace("{city}", seller.city);
        lines.push(
            [
                seller.handle,
                seller.name,
                seller.city,
                &sku,
                &format!("{} {specialty} {}", family.name, size.label),
                family.category,
                family.unit,
                &price.to_string(),
                &stock(&mut random, &family.stock).to_string(),
                &size.weight_grams.to_string(),
                &description,
                &format!("{}={specialty};{}={}", family.specialty_attribute, family.size_attribute, size.label),
            ]
            .join("\t"),
        );
    }
    Ok(lines)
}

fn stock(random: &mut SplitMix64, usual: &RangeInclusive<u64>) -> u64 {
    let (low, high) = usual.clone().into_inner();
    let full = low + random.below(high - low + 1);
    if random.below(SOLD_OUT_ONE_IN) == 0 {
        0
    } else if random.below(LOW_ONE_IN) == 0 {
        full.min(1 + random.below(LOW_STOCK_MAX))
    } else {
        full
    }
}

type Row<'a> = BTreeMap<&'a str, &'a str>;

/// The rows of a table without its heading, by column name.
fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    let mut lines = table.lines();
    let heading: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines.map(move |line| heading.iter().copied().zip(line.split('\t')).collect())
}

fn seller<'a>(row: &Row<'a>) -> anyhow::Result<Seller<'a>> {
    Ok(Seller {
        handle: column(row, "handle")?,
        name: column(row, "name")?,
        city: column(row, "city")?,
        sku_prefix: column(row, "sku_prefix")?,
        craft: column(row, "craft")?,
        specialties: column(row, "specialties")?.split('|').collect(),
    })
}

fn family<'a>(row: &Row<'a>) -> anyhow::Result<Family<'a>> {
    let sizes = column(row, "sizes")?.split(';');
    Ok(Family {
        craft: column(row, "craft")?,
        name: column(row, "family")?,
        category: column(row, "category")?,
        unit: column(row, "unit")?,
        specialty_attribute: column(row, "specialty_attribute")?,
        size_attribute: column(row, "size_attribute")?,
        sizes: sizes.map(|text| size(text).with_context(|| format!("size `{text}`"))).collect::<anyhow::Result<_>>()?,
        stock: range(column(row, "stock")?)?,
        description: column(row, "description")?,
    })
}

fn column<'a>(row: &Row<'a>, name: &str) -> anyhow::Result<&'a str> {
    row.get(name).copied().filter(|value| !value.is_empty()).ok_or_else(|| anyhow!("a row lacks `{name}`: {row:?}"))
}

/// `label=from-to@grams`.
fn size(text: &str) -> anyhow::Result<Size<'_>> {
    let (label, rest) = text.split_once('=').context("no `=` after the label")?;
    let (price, weight) = rest.split_once('@').context("no `@` before the weight")?;
    Ok(Size { label, price_rupiah: range(price)?, weight_grams: weight.parse()? })
}

/// `from-to`.
fn range(text: &str) -> anyhow::Result<RangeInclusive<u64>> {
    let (low, high) = text.split_once('-').with_context(|| format!("`{text}` is no range"))?;
    let (low, high) = (low.parse()?, high.parse()?);
    ensure!(low <= high, "`{text}` runs backwards");
    Ok(low..=high)
}

/// Steele, Lea and Flood's generator (OOPSLA 2014): ten lines that give the same numbers everywhere, for ever.
struct SplitMix64(u64);

impl SplitMix64 {
    /// The seed is the text's FNV-1a hash.
    fn seeded_by(text: &str) -> Self {
        Self(
            text.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0. The bias of the remainder is below 2^-50 for limits of this file.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{PRICE_STEP_RUPIAH, Row, SplitMix64, products, rows};

    const PRODUCTS: &str = include_str!("../../seed/products.tsv");

    /// A pinned product that is nearly gone would make a poor first purchase.
    const PINNED_STOCK_MIN: u64 = 10;

    fn number(row: &Row<'_>, column: &str) -> u64 {
        row[column].parse().unwrap()
    }

    #[test]
    fn the_committed_file_is_what_the_generator_writes() {
        let sellers = include_str!("../../seed/vocabulary/sellers.tsv");
        let families = include_str!("../../seed/vocabulary/families.tsv");
        assert!(products(sellers, families).unwrap() == PRODUCTS, "stale: run `cargo xtask seed`");
    }

    #[test]
    fn every_product_is_plausible_and_named_once() {
        let (mut skus, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for row in rows(PRODUCTS) {
            assert_eq!(row.len(), 12, "{row:?}");
            assert!(skus.insert(row["sku"]) && titles.insert((row["seller"], row["title"])), "{row:?}");
            assert_eq!(row["category"].split(" > ").count(), 3, "{row:?}");
            let price = number(&row, "price_rupiah");
            assert!((10_000..=3_000_000).contains(&price) && price.is_multiple_of(PRICE_STEP_RUPIAH), "{row:?}");
            assert!(number(&row, "stock") <= 300 && (1..=10_000).contains(&number(&row, "weight_grams")), "{row:?}");
            assert!(!row["description"].contains(['{', '}']), "{row:?}");
        }
        assert!(skus.len() >= 1_000);
    }

    #[test]
    fn a_larger_size_costs_more() {
        let price: BTreeMap<_, _> = rows(PRODUCTS).map(|row| (row["title"], number(&row, "price_rupiah"))).collect();
        let coffee = |size: &str| price.get(format!("Kopi Biji Sangrai Gayo Natural {size}").as_str());
        let prices: Vec<_> = ["200 g", "500 g", "1 kg"].into_iter().filter_map(coffee).collect();
        assert!(prices.len() > 1 && prices.is_sorted_by(|a, b| a < b), "{prices:?}");
    }

    #[test]
    fn showcases_pin_what_can_be_bought() {
        let stock: BTreeMap<_, _> = rows(PRODUCTS).map(|row| (row["sku"], number(&row, "stock"))).collect();
        let mut showcases = BTreeSet::new();
        for row in rows(include_str!("../../seed/showcases.tsv")) {
            assert!(showcases.insert((row["creator"], row["campaign"])), "{row:?}");
            for sku in row["pins"].split(',') {
                assert!(stock.get(sku).is_some_and(|stock| *stock >= PINNED_STOCK_MIN), "{sku} of {row:?}");
            }
        }
        assert!(showcases.len() >= 3);
    }

    #[test]
    fn the_random_numbers_are_those_of_the_published_generator() {
        let mut random = SplitMix64(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }
}
