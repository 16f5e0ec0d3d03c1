//! What a column's name says, in the languages that schemas are written in.
//!
//! A name is cut into words (`firstName`, `FIRST_NAME` and `first-name` are two each). The longest phrase that occurs in it
//! decides: `ip_address` is no postal address. Words that make a fact about a thing of the thing itself (`email_verified`,
//! `address_id`) take it back.

/// What a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    /// The class.
    pub(super) class: &'static str,
    /// How sure a name of these words is, in percent.
    pub(super) percent: u8,
    /// The words.
    pub(super) words: &'static str,
}

/// What a column's name says, given whose column it is.
pub(super) fn of_column(relation: &str, name: &str) -> Option<Named> {
    let words = words(name);
    if is_about(&words) {
        return None;
    }
    let found = longest(&words).or_else(|| joined(&words))?;
    if found.class == "pii.name" && found.words == NAME_ALONE {
        // Things have names too: only people's are meant.
        let is_of_people = self::words(relation)
            .iter()
            .any(|word| PEOPLE.contains(&singular(word)));
        let is_alone = words.len() == 1;
        return (is_of_people && is_alone).then_some(Named {
            percent: 70,
            ..found
        });
    }
    Some(found)
}

/// What a comment says: weaker than a name, and only unmistakable words count.
pub(super) fn of_comment(comment: &str) -> Option<Named> {
    let found = longest(&words(comment))?;
    (found.percent >= 80).then_some(Named {
        percent: found.percent - 20,
        ..found
    })
}

/// Whether an address is a machine's that says nothing about a person: `listen_address`, `server_ip`.
pub(super) fn is_of_a_machine_alone(name: &str) -> bool {
    let words = words(name);
    words.iter().any(|word| {
        [
            "listen", "bind", "server", "subnet", "netmask", "gateway", "network", "cidr",
        ]
        .contains(&word.as_str())
    })
}

/// The words of a name, in small ASCII letters where they have one.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for character in name.chars() {
        if !character.is_alphanumeric() {
            words.push(String::new());
            was_small = false;
            continue;
        }
        if character.is_uppercase() && was_small {
            words.push(String::new());
        }
        was_small = character.is_lowercase() || character.is_ascii_digit();
        if let Some(word) = words.last_mut() {
            for small in character.to_lowercase() {
                match plain(small) {
                    Some(letters) => word.push_str(letters),
                    None => word.push(small),
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A letter with a mark, without it.
fn plain(character: char) -> Option<&'static str> {
    Some(match character {
        'á' | 'à' | 'â' | 'ã' | 'å' => "a",
        'ä' => "ae",
        'é' | 'è' | 'ê' | 'ë' => "e",
        'í' | 'ì' | 'î' | 'ï' => "i",
        'ó' | 'ò' | 'ô' | 'õ' => "o",
        'ö' | 'ø' => "oe",
        'ú' | 'ù' | 'û' => "u",
        'ü' => "ue",
        'ñ' => "n",
        'ç' => "c",
        'ß' => "ss",
        _ => return None,
    })
}

/// A name about a fact: whether, when, how many, which row.
fn is_about(words: &[String]) -> bool {
    let first = words.first().map_or("", String::as_str);
    let last = words.last().map_or("", String::as_str);
    words.len() > 1 && (ABOUT_FIRST.contains(&first) || ABOUT_LAST.contains(&last))
}

fn longest(words: &[String]) -> Option<Named> {
    let mut best: Option<(usize, Named)> = None;
    for entry in DICTIONARY {
        for phrase in entry.phrases.split(", ") {
            let length = phrase.split(' ').count();
            let is_better =
                best.is_none_or(|(known, named)| (length, entry.percent) > (known, named.percent));
            let occurs = words.windows(length).any(|window| {
                window
                    .iter()
                    .map(|word| singular(word))
                    .eq(phrase.split(' ').map(singular))
            });
            if is_better && occurs {
                best = Some((length, entry.named(phrase)));
            }
        }
    }
    best.map(|(_, named)| named)
}

/// Names whose words were written without anything between: `firstname`, `dateofbirth`, `emailaddress`.
fn joined(words: &[String]) -> Option<Named> {
    let whole: String = words.concat();
    DICTIONARY.iter().find_map(|entry| {
        let phrase = entry.phrases.split(", ").find(|phrase| {
            phrase.contains(' ')
                && phrase
                    .chars()
                    .filter(|letter| *letter != ' ')
                    .eq(whole.chars())
        })?;
        Some(entry.named(phrase))
    })
}

fn singular(word: &str) -> &str {
    match word {
        "address" | "adresse" | "pass" | "cvs" | "gps" | "sms" | "dress" => word,
        "addresses" => "address",
        _ if word.len() > 3 && !word.ends_with("ss") => word.strip_suffix('s').unwrap_or(word),
        _ => word,
    }
}

struct Entry {
    class: &'static str,
    percent: u8,
    phrases: &'static str,
}

impl Entry {
    const fn named(&self, words: &'static str) -> Named {
        Named {
            class: self.class,
            percent: self.percent,
            words,
        }
    }
}

const fn entry(class: &'static str, percent: u8, phrases: &'static str) -> Entry {
    Entry {
        class,
        percent,
        phrases,
    }
}

const NAME_ALONE: &str = "name";

const PEOPLE: &[&str] = &[
    "customer",
    "client",
    "user",
    "person",
    "people",
    "employee",
    "staff",
    "patient",
    "contact",
    "member",
    "student",
    "teacher",
    "guest",
    "subscriber",
    "applicant",
    "candidate",
    "passenger",
    "driver",
    "donor",
    "owner",
    "author",
    "kunde",
    "kunden",
    "mitarbeiter",
    "benutzer",
    "utilisateur",
    "employe",
    "cliente",
    "empleado",
    "usuario",
    "klant",
    "medewerker",
    "persona",
    "personne",
    "pasient",
    "doctor",
    "physician",
    "beneficiary",
    "cardholder",
    "recipient",
    "tenant",
    "voter",
];

const ABOUT_FIRST: &[&str] = &[
    "is", "has", "was", "can", "num", "count", "allow", "enable", "require", "show", "hide", "no",
];

const ABOUT_LAST: &[&str] = &[
    "id",
    "ids",
    "uuid",
    "guid",
    "fk",
    "pk",
    "count",
    "total",
    "type",
    "kind",
    "status",
    "state",
    "flag",
    "verified",
    "valid",
    "confirmed",
    "enabled",
    "disabled",
    "optin",
    "optout",
    "consent",
    "at",
    "on",
    "ts",
    "updated",
    "created",
    "changed",
    "format",
    "template",
    "version",
    "score",
    "length",
    "visible",
    "required",
    "provider",
    "subject",
    "sent",
    "source",
    "label",
    "category",
    "preference",
    "frequency",
    "attempts",
    "bounced",
    "order",
    "rank",
    "method",
    "column",
];

const DICTIONARY: &[Entry] = &[
    entry(
        "pii.email",
        90,
        "email, e mail, mail address, email address, e mail address, correo, correo electronico, courriel, \
        emailadresse, email addr, eml",
    ),
    entry("pii.email", 60, "mail"),
    entry(
        "pii.phone",
        88,
        "phone, telephone, telefon, telefono, telefone, telefoon, phone number, phone no, mobile number, \
        mobile phone, cell phone, cellphone, msisdn, tel no, telefonnummer, handynummer, handy, mobilnummer, telefoonnummer, \
        numero telephone, numero de telephone, telephone portable, work phone, home phone, fax, fax number, whatsapp, \
        phonenumber",
    ),
    entry(
        "pii.phone",
        70,
        "tel, mobile, mobil, movil, cellulare, celular, portable, cell, gsm",
    ),
    entry(
        "pii.ssn",
        95,
        "ssn, social security number, social security, social security no, soc sec, ss number, us ssn",
    ),
    entry(
        "pii.national_id",
        90,
        "national id, national identifier, national insurance, national insurance number, nino, \
        personal id number, id card number, identity number, identity card, nin, dni, nie, nif, curp, rfc, cpf, pesel, bsn, \
        burgerservicenummer, personnummer, fodselsnummer, foedselsnummer, henkilotunnus, hetu, codice fiscale, codfis, \
        numero securite sociale, nir, insee number, aadhaar, aadhar, rijksregisternummer, cedula, citizen id, resident id, \
        cpr number, sozialversicherungsnummer, svnr, rodne cislo, egn, nric, hkid, sin number, ahv, ahv number, ahv nr",
    ),
    entry("pii.national_id", 60, "rut, cpr, ahvnr, emirates id"),
    entry(
        "pii.tax_id",
        85,
        "tax id, tax number, taxpayer id, itin, tin, steuernummer, steuer id, steueridentifikationsnummer, \
        tax identification number, vat id person, pan india",
    ),
    entry(
        "pii.passport",
        90,
        "passport, passport number, passport no, passeport, pasaporte, reisepass, reisepassnummer, \
        passaporto, paspoort",
    ),
    entry(
        "pii.driver_license",
        88,
        "driver license, drivers license, driver licence, driving licence, driving license, dl number, \
        license number driver, fuehrerschein, fuehrerscheinnummer, permis de conduire, rijbewijs, carnet de conducir",
    ),
    entry(
        "pii.name",
        85,
        "first name, last name, full name, middle name, given name, family name, surname, maiden name, \
        fname, lname, forename, nachname, vorname, familienname, prenom, nom de famille, apellido, primer apellido, \
        segundo apellido, nombre completo, cognome, voornaam, achternaam, sobrenome, firstname, lastname, fullname, \
        customer name, employee name, patient name, contact name, person name, cardholder name, account holder, \
        name on card, holder name, user full name, display name, birth name, mother maiden name, kundenname, etternavn, \
        fornavn, efternamn, foernamn, imie, nazwisko, sukunimi, etunimi, beneficiary name, author name, recipient name, nickname",
    ),
    entry("pii.name", 55, "nombre, nom, nome, naam, middle initial"),
    entry("pii.name", 30, "name"),
    entry(
        "pii.address",
        85,
        "street, street address, street name, address line, home address, postal address, mailing address, \
        billing address, shipping address, delivery address, residential address, strasse, hausnummer, anschrift, adresse, \
        direccion, calle, domicilio, indirizzo, rue, adres, straat, huisnummer, endereco, gatuadress, ulica, address, addr, \
        street number, house number, work address, streetaddress, address1, address2, addr1, addr2, line1 address",
    ),
    entry(
        "pii.address",
        70,
        "zip, zipcode, zip code, postcode, post code, postal code, postleitzahl, plz, code postal, codigo postal, \
        cap code, kodpocztowy, cep",
    ),
    entry(
        "pii.location",
        75,
        "latitude, longitude, geolocation, gps, lat lon, geo point, gps position, last location, home location",
    ),
    entry("pii.location", 55, "lat, lng, lon"),
    entry(
        "pii.birth_date",
        93,
        "dob, date of birth, birth date, birthday, birthdate, born, born on, date birth, geburtsdatum, geburtstag, \
        gebdat, date naissance, date de naissance, fecha nacimiento, fecha de nacimiento, data di nascita, data nascita, \
        geboortedatum, data de nascimento, data nascimento, foedselsdato, fodselsdato, syntymaaika, data urodzenia, birth dt",
    ),
    entry(
        "pii.birth_date",
        75,
        "birth year, year of birth, birth month, birth day",
    ),
    entry(
        "pii.gender",
        75,
        "gender, geschlecht, sexe, sexo, sesso, geslacht",
    ),
    entry("pii.gender", 55, "sex"),
    entry(
        "pii.special",
        80,
        "religion, ethnicity, race ethnicity, ethnic group, sexual orientation, political party, political affiliation, \
        union member, diagnosis, diagnoses, medical condition, blood type, blood group, hiv status, disability, disabilities, \
        icd10, icd code, prescription, medication, allergy, allergies, krankheit, diagnose, biometric, fingerprint image",
    ),
    entry(
        "pci.pan",
        92,
        "card number, card no, card num, cardnumber, credit card, credit card number, creditcard, cc number, cc num, \
        ccnum, cc no, ccn, debit card, debit card number, primary account number, kreditkarte, kreditkartennummer, kartennummer, \
        numero carte, numero de carte, tarjeta, numero tarjeta, numero de tarjeta, kaartnummer, card pan, payment card, \
        carta di credito",
    ),
    entry("pci.pan", 60, "pan"),
    entry(
        "pci.cvv",
        93,
        "cvv, cvv2, cvc, cvc2, csc, card verification, security code card, card security code, card cvv",
    ),
    entry(
        "pci.expiry",
        80,
        "card expiry, card expiration, expiry month, expiry year, exp month, exp year, cc exp, card exp, \
        card valid thru",
    ),
    entry("finance.iban", 95, "iban, iban number, iban no"),
    entry(
        "finance.account",
        80,
        "bank account, bank account number, account number bank, kontonummer, konto nr, numero de compte, \
        numero cuenta, cuenta bancaria, routing number, sort code, bank account no, aba routing, bank acct",
    ),
    entry(
        "finance.account",
        55,
        "account number, account no, acct no, acct num, swift, bic",
    ),
    entry(
        "finance.income",
        80,
        "salary, salaries, wage, income, annual income, gehalt, lohn, salaire, salario, stipendio, \
        compensation, base pay, gross pay, net pay, payroll amount, hourly rate, bonus amount",
    ),
    entry(
        "finance.crypto_address",
        85,
        "wallet address, btc address, bitcoin address, eth address, ethereum address, crypto address, \
        crypto wallet",
    ),
    entry(
        "network.ip",
        85,
        "ip, ip address, ip addr, ipaddr, client ip, remote ip, remote addr, last ip, login ip, source ip, src ip, \
        dst ip, ipv4, ipv6, client addr, adresse ip, direccion ip, x forwarded for",
    ),
    entry(
        "network.mac",
        85,
        "mac address, mac addr, macaddr, hardware address, hw addr, bssid, wifi mac",
    ),
    entry("network.mac", 55, "mac"),
    entry("network.url", 60, "webhook url, callback url, profile url"),
    entry(
        "secret.password",
        92,
        "password, passwd, passwort, contrasena, mot de passe, wachtwoord, password hash, pwd, passphrase, \
        pass hash, hashed password, encrypted password, senha, password digest, user password, pin code, pin hash, kennwort",
    ),
    entry(
        "secret.api_key",
        92,
        "api key, apikey, api secret, access key, secret key, secret access key, client secret, app secret, \
        encryption key, signing key, webhook secret, totp secret, otp secret, mfa secret, access key secret, consumer secret, \
        shared secret, hmac key",
    ),
    entry("secret.api_key", 65, "secret"),
    entry(
        "secret.token",
        88,
        "access token, refresh token, auth token, session token, bearer token, oauth token, id token, reset token, \
        api token, jwt, csrf token, remember token, verification token, invite token, password reset token, session key, \
        device token, recovery code",
    ),
    entry("secret.token", 60, "token"),
    entry(
        "secret.private_key",
        93,
        "private key, privkey, priv key, ssh key, pem key, rsa key, tls key, key pem",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_says_what_its_own_words_say() {
        for entry in DICTIONARY {
            for phrase in entry.phrases.split(", ") {
                let found = longest(&words(phrase));
                let class = found.map(|named| named.class);
                assert_eq!(class, Some(entry.class), "{phrase}");
            }
        }
    }

    #[test]
    fn writings_of_one_name_are_the_same() {
        for name in [
            "first_name",
            "FirstName",
            "firstName",
            "FIRST_NAME",
            "first-name",
            "firstname",
        ] {
            assert_eq!(
                of_column("t", name).map(|named| named.class),
                Some("pii.name"),
                "{name}"
            );
        }
    }

    #[test]
    fn facts_about_a_thing_are_not_the_thing() {
        for name in [
            "email_verified",
            "address_id",
            "phone_type",
            "is_email",
            "email_count",
            "password_changed_at",
            "card_number_type",
            "id",
            "uuid",
            "order_no",
            "product_name",
            "status",
            "company",
            "amount",
            "customer_id",
            "created_at",
            "filename",
            "hostname",
            "tablename",
            "description",
            "title",
            "price",
            "quantity",
            "sku",
            "state",
        ] {
            assert_eq!(of_column("orders", name), None, "{name}");
        }
    }

    #[test]
    fn the_longest_phrase_decides() {
        let class = |name: &str| of_column("t", name).map(|named| named.class);
        assert_eq!(class("ip_address"), Some("network.ip"));
        assert_eq!(class("mac_address"), Some("network.mac"));
        assert_eq!(class("email_address"), Some("pii.email"));
        assert_eq!(class("wallet_address"), Some("finance.crypto_address"));
        assert_eq!(class("billing_address"), Some("pii.address"));
    }

    #[test]
    fn a_name_alone_is_a_persons_in_a_relation_of_people() {
        assert!(of_column("customers", "name").is_some());
        assert!(of_column("app_users", "name").is_some());
        assert!(of_column("products", "name").is_none());
    }
}
