//! Letters and digits that are taken for plain ones.

use std::sync::LazyLock;

/// The plain letter or digit that a character in lower case is taken for; the character itself where there is none.
pub(super) fn plain(character: char) -> char {
    static SORTED: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
        let pairs = LOOK_ALIKES.iter().flat_map(|&(plain, all)| all.chars().map(move |character| (character, plain)));
        let mut pairs: Vec<(char, char)> = pairs.collect();
        pairs.sort_unstable();
        pairs
    });
    let found = SORTED.binary_search_by_key(&character, |pair| pair.0);
    found.map_or(character, |at| SORTED[at].1)
}

/// What Unicode 15 takes apart into a letter or digit and marks (NFKD), and letters with strokes, small capitals and the nearest
/// letters of Greek, Cyrillic and Armenian.
#[rustfmt::skip]
const LOOK_ALIKES: [(char, &str); 37] = [
    ('\'', "ʼ‘’"),
    ('0', "⁰₀⓪"),
    ('1', "¹₁"),
    ('2', "²₂"),
    ('3', "³₃"),
    ('4', "⁴₄"),
    ('5', "⁵₅"),
    ('6', "⁶₆"),
    ('7', "⁷₇"),
    ('8', "⁸₈"),
    ('9', "⁹₉"),
    ('a', "ªàáâãäåāăąǎǟǡǻȁȃȧɑαаᴀᴬᵃḁạảấầẩẫậắằẳẵặₐⱥ"),
    ('b', "ƀɓʙвьᴮᵇḃḅḇℬ"),
    ('c', "çćĉċčƈȼϲсҫᴄᶜḉℂℭⅽꟲ"),
    ('d', "ďđɖɗԁᴅᴰᵈᶁḋḍḏḑḓⅅⅆⅾ"),
    ('e', "èéêëēĕėęěȅȇȩɇɛεеёєҽӗᴇᴱᵉḕḗḙḛḝẹẻẽếềểễệₑℯℰⅇ"),
    ('f', "ƒᶠḟℱꜰꟳ"),
    ('g', "ĝğġģǥǧǵɠɡɢցᴳᵍḡℊ"),
    ('h', "ĥħȟɦʜʰһհᴴḣḥḧḩḫẖₕℋℌℍℎ"),
    ('i', "ìíîïĩīĭįıǐȉȋɨɩɪίιіїᴵᵢḭḯỉịⁱℐℑℹⅈⅰ"),
    ('j', "ĵǰɉʲϳјᴊᴶⅉⱼ"),
    ('k', "ķƙǩκкқᴋᴷᵏḱḳḵₖ"),
    ('l', "ĺļľłƚɫʟˡӏᴸḷḹḻḽₗℒℓⅼ"),
    ('m', "ɱмᴍᴹᵐḿṁṃₘℳⅿ"),
    ('n', "ñńņňƞǹɲɴոᴺṅṇṉṋⁿₙℕ"),
    ('o', "ºòóôõöøōŏőơǒǫǭȍȏȫȭȯȱɵοόоօᴏᴼᵒṍṏṑṓọỏốồổỗộớờởỡợₒℴ"),
    ('p', "ƥρрᴘᴾᵖᵽṕṗₚℙ"),
    ('q', "ɋԛℚꞯꟴ𐞥"),
    ('r', "ŕŗřȑȓɍɽʀʳᴿᵣṙṛṝṟℛℜℝ"),
    ('s', "śŝşšſșȿʂˢѕṡṣṥṧṩẛₛꜱ"),
    ('t', "ţťŧƭțʈτтᴛᵀᵗṫṭṯṱẗₜ"),
    ('u', "ùúûüũūŭůűųưǔǖǘǚǜȕȗʉυύսᴜᵁᵘᵤṳṵṷṹṻụủứừửữự"),
    ('v', "ʋνѵᴠᵛᵥṽṿⅴⱽ"),
    ('w', "ŵʷԝᴡᵂẁẃẅẇẉẘ"),
    ('x', "ˣχхẋẍₓⅹ"),
    ('y', "ýÿŷƴȳɏʏʸуўүẏẙỳỵỷỹ"),
    ('z', "źżžƶȥʐᴢᶻẑẓẕℤℨ"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_stands_for_one_letter() {
        let all: Vec<char> = LOOK_ALIKES.iter().flat_map(|row| row.1.chars()).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        for (plain_letter, row) in LOOK_ALIKES {
            for character in row.chars() {
                assert!(!character.is_ascii() && character.to_lowercase().eq([character]), "{character} is never looked up");
                assert_eq!(plain(character), plain_letter);
            }
        }
        assert_eq!(['a', 'ß', '好', 'ж'].map(plain), ['a', 'ß', '好', 'ж']);
    }
}
