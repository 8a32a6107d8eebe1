"""Whose row is whose: every student of a platform's download is found in that platform's own list."""

from __future__ import annotations

import csv
import io

import pytest

from grader.cohort.csv_file import read_roster
from grader.errors import UsageError
from grader.intake.handed_in.owners import Identity
from grader.reports.lms_csv import canvas_csv, moodle_csv
from grader.reports.roster import Person, Roster
from tests.reports.test_exports import grade


def roster(tmp_path, text: str) -> Roster:
    path = tmp_path / "roster.csv"
    path.write_text(text, encoding="utf-8")
    return read_roster(path)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


HEADERS = [
    "First name,Last name,ID number,Email address",
    "First name,Surname,ID number,Email address",
    "Vorname;Nachname;ID-Nummer;E-Mail-Adresse",
    "Prénom;Nom de famille;Numéro d'identification;Adresse de courriel",
    "Nombre;Apellido(s);Número de ID;Dirección de correo",
    "Nome;Cognome;Codice identificativo;Indirizzo email",
    "Nome,Sobrenome,Número de identificação,Endereço de email",
    "Voornaam;Achternaam;ID-nummer;E-mailadres",
    "Imię;Nazwisko;Numer ID;Adres e-mail",
    "Имя;Фамилия;Индивидуальный номер;Адрес электронной почты",
    "名,姓氏,学号,电子邮件地址",
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("student", ["ann@example.org", "1742", "Ann Ash", "ash, ann", "ashann", "ann"])
def test_moodles_list_in_any_language(tmp_path, header, student):
    separator = ";" if ";" in header else ","
    given = roster(tmp_path, f"{header}\nAnn{separator}Ash{separator}1742{separator}ann@example.org\n")
    text, unknown = moodle_csv([grade(student)], given)
    assert unknown == []
    assert list(rows(text)[0].values())[:4] == ["Ann", "Ash", "1742", "ann@example.org"]
    assert list(rows(text)[0]) == [*header.split(separator), "01_mini"]


CANVAS = """Student,ID,SIS User ID,SIS Login ID,Section,01_mini (4711)
    Points Possible,,,,,10
"Ash, Ann",12345,s17,aa17,A,
"Ash, Ann",12399,s18,aa18,B,
"Møller-Lund, Zoë",12346,s19,zml,A,
"""


def test_canvas_numbers_are_surer_than_names(tmp_path):
    known = {"ashann": [Identity("canvas", "12399")]}
    text, unknown = canvas_csv([grade("ashann"), grade("møllerlundzoe")], roster(tmp_path, CANVAS), known)
    assert unknown == []
    assert [row["ID"] for row in rows(text)] == ["", "12399", "12346"]
    text, unknown = canvas_csv([grade("ashann")], roster(tmp_path, CANVAS))
    assert unknown == ["ashann"]  # two are called so, and without a number nobody knows which


def test_a_number_of_one_platform_is_none_of_another(tmp_path):
    known = {"x": [Identity("moodle", "12345")]}
    assert canvas_csv([grade("x")], roster(tmp_path, CANVAS), known).unknown == ["x"]


def test_canvas_number_without_a_roster():
    _, row = rows(canvas_csv([grade("ashann")], None, {"ashann": [Identity("canvas", "12345")]}).text)
    assert (row["ID"], row["SIS Login ID"]) == ("12345", "")


WORKSHEET = """{},Full name,Email address,Status,{},Maximum Grade,Last modified (grade),Feedback comments
{} 12345,Ann Ash,ann@example.org,Submitted,3.00,30.00,-,
{} 12346,Ben Box,ben@example.org,Submitted,,30.00,-,Fine.
"""


@pytest.mark.parametrize(
    ("identifier", "column", "word"), [("Identifier", "Grade", "Participant"), ("ID", "Bewertung", "Teilnehmer/in")]
)
def test_moodles_grading_worksheet_is_filled_in(tmp_path, identifier, column, word):
    given = roster(tmp_path, WORKSHEET.format(identifier, column, word, word))
    known = {"A.": [Identity("moodle", "12345")], "Ben Box": [Identity("moodle", "12346")]}
    text, unknown = moodle_csv([grade("A."), grade("Ben Box")], given, known)
    assert unknown == []
    assert list(rows(text)[0]) == given.columns
    assert [(row[identifier], float(row[column])) for row in rows(text)] == [
        (f"{word} 12345", grade("x").score),
        (f"{word} 12346", grade("x").score),
    ]
    assert rows(text)[1]["Feedback comments"] == "Fine."
    assert rows(text)[0]["Last modified (grade)"] == "-"
    with pytest.raises(UsageError, match="say which with --exercise"):
        moodle_csv([grade("A."), grade("A.", "02_more")], given, known)


def test_a_github_user_is_found_in_a_list_that_names_them(tmp_path):
    given = roster(tmp_path, "identifier,github_username,github_id,name\nann@example.org,annie99,5,Ann Ash\n")
    (number,) = given.rows_of([Person("annie99", [Identity("github", "annie99")])]).values()
    assert given.name(given.people[number]) == "Ann Ash"
