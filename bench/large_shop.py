"""A shop with Flask and SQLAlchemy for preload_memory.py: twenty tables, 200,000 objects, and a
database in memory that is asked for each request.
"""

from __future__ import annotations

from flask import Flask, Response, jsonify, request
from sqlalchemy import Engine, ForeignKey, String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import StaticPool

from bench.large import CATALOGUE, COUNT, EACH, read


class Base(DeclarativeBase):
    pass


class Group(Base):
    __tablename__ = "groups"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    items: Mapped[list[Item]] = relationship(back_populates="group")


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    group_id: Mapped[int] = mapped_column(ForeignKey("groups.id"))
    group: Mapped[Group] = relationship(back_populates="items")


for number in range(18):  # an application has more tables than one request needs
    type(f"Other{number}", (Base,), {
        "__tablename__": f"other{number}",
        "__module__": __name__,
        "id": mapped_column(String(20), primary_key=True),
        **{f"column{part}": mapped_column(String(20)) for part in range(10)},
    })  # fmt: skip
Base.registry.configure()

app = Flask(__name__)
engines: list[Engine] = []


def session() -> Session:
    """A session of this process's own database, which its first request makes."""
    if not engines:
        engine = create_engine("sqlite://", poolclass=StaticPool)
        Base.metadata.create_all(engine)
        with Session(engine) as first:
            for name in ("left", "right"):
                items = [Item(name=f"{name} {number}") for number in range(50)]
                first.add(Group(name=name, items=items))
            first.commit()
        engines.append(engine)
    return Session(engines[0])


@app.get("/")
def page() -> Response:
    number = request.args.get("page", 0, int)
    with session() as work:
        found = work.scalars(select(Item).where(Item.id % 10 == number % 10).order_by(Item.id))
        names = [f"{item.name} of {item.group.name}" for item in found]
    return jsonify(names=names, total=read(CATALOGUE, number * EACH % COUNT))
