"""Introduction to Keras for engineers, in other words: https://keras.io/getting_started/intro_to_keras_for_engineers/

The same calls with the same arguments in the same order, up to "That's it for the basics!", on the
backend that it says may be put in, and no word of unvanish.
"""

import os

import numpy as np

os.environ["KERAS_BACKEND"] = "torch"

import keras

(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
x_train = np.expand_dims(x_train.astype("float32") / 255, -1)
x_test = np.expand_dims(x_test.astype("float32") / 255, -1)
print("for training", x_train.shape, y_train.shape, "to test", x_test.shape)

layers = keras.layers
model = keras.Sequential(
    [
        layers.Input(shape=(28, 28, 1)),
        layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
        layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Conv2D(128, kernel_size=(3, 3), activation="relu"),
        layers.Conv2D(128, kernel_size=(3, 3), activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ]
)
model.summary()
model.compile(
    loss=keras.losses.SparseCategoricalCrossentropy(),
    optimizer=keras.optimizers.Adam(learning_rate=1e-3),
    metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
)
model.fit(
    x_train,
    y_train,
    batch_size=128,
    epochs=20,
    validation_split=0.15,
    callbacks=[
        keras.callbacks.ModelCheckpoint(filepath="model_at_epoch_{epoch}.keras"),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=2),
    ],
)
print("tested", model.evaluate(x_test, y_test, verbose=0))
model.save("final_model.keras")
model = keras.saving.load_model("final_model.keras")
print("guessed", model.predict(x_test).argmax(-1))
