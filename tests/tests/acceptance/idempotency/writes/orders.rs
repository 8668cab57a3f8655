//! Carts, orders and their payments.

use acceptance::shop::request_id;
use sekat_api_order::v1 as order;
use sekat_api_payment::v1 as payment;

use super::{World, Write, mask};

impl World {
    pub(super) async fn carts(&self) -> Vec<Write> {
        let [one, two, three] = [&self.shop.skus[0], &self.shop.skus[1], &self.shop.skus[2]];
        let handoff = self.handoff().await;
        let opening = order::CreateCartRequest { handoff, request_id: request_id() };
        let create_cart = self.buyer(
            "/sekat.order.v1.CartService/CreateCart",
            &opening,
            &order::CreateCartRequest { handoff: String::new(), ..opening.clone() },
            ("order", "SELECT COUNT(*) FROM carts"),
        );

        let lines = [(one.as_str(), 1), (two.as_str(), 1)];
        let cart = self.app.buyer.cart(&lines).await.expect("a cart");
        let addition = order::AddCartLineRequest {
            cart: cart.name.clone(),
            sku: three.clone(),
            quantity: 1,
            request_id: request_id(),
        };
        let add_line = self.buyer(
            "/sekat.order.v1.CartService/AddCartLine",
            &addition,
            &order::AddCartLineRequest { quantity: 2, ..addition.clone() },
            ("order", "SELECT SUM(quantity) FROM cart_lines"),
        );
        let change = order::UpdateCartLineRequest {
            name: cart.lines[0].name.clone(),
            quantity: 2,
            update_mask: mask("quantity"),
            request_id: request_id(),
            ..Default::default()
        };
        let update_line = self.buyer(
            "/sekat.order.v1.CartService/UpdateCartLine",
            &change,
            &order::UpdateCartLineRequest { quantity: 3, ..change.clone() },
            ("order", "SELECT SUM(version) FROM carts"),
        );
        let removal = order::RemoveCartLineRequest { name: cart.lines[1].name.clone(), request_id: request_id() };
        let remove_line = self.buyer(
            "/sekat.order.v1.CartService/RemoveCartLine",
            &removal,
            &order::RemoveCartLineRequest { name: cart.lines[0].name.clone(), ..removal.clone() },
            ("order", "SELECT SUM(version) FROM carts"),
        );
        vec![create_cart, add_line, update_line, remove_line]
    }

    pub(super) async fn orders(&self) -> Vec<Write> {
        let sku = &self.shop.skus[0];
        let (cart, quote_hash) = self.app.fill_cart(sku).await;
        let ordering = order::CreateOrderRequest {
            cart,
            address: self.app.buyer.address.clone(),
            quote_hash,
            request_id: request_id(),
        };
        let create_order = self.buyer(
            "/sekat.order.v1.OrderService/CreateOrder",
            &ordering,
            &order::CreateOrderRequest { quote_hash: "another".to_owned(), ..ordering.clone() },
            ("order", "SELECT COUNT(*) FROM orders"),
        );

        let (_, confirmed) = self.app.order(sku).await;
        let (_, other) = self.app.order(sku).await;
        let method = payment::VirtualAccountMethod { bank: payment::Bank::Bca.into() };
        let confirmation = payment::ConfirmPaymentIntentRequest {
            name: confirmed.payment_intent.clone(),
            method: Some(payment::confirm_payment_intent_request::Method::VirtualAccount(method)),
            request_id: request_id(),
        };
        let confirm_payment = self.buyer(
            "/sekat.payment.v1.PaymentIntentService/ConfirmPaymentIntent",
            &confirmation,
            &payment::ConfirmPaymentIntentRequest { name: other.payment_intent, ..confirmation.clone() },
            ("payment", "SELECT COUNT(*) FROM payment_intents WHERE account_number IS NOT NULL"),
        );

        let (_, canceled) = self.app.order(sku).await;
        let cancellation = order::CancelOrderRequest { name: canceled.name, request_id: request_id() };
        let cancel_order = self.buyer(
            "/sekat.order.v1.OrderService/CancelOrder",
            &cancellation,
            &order::CancelOrderRequest { name: other.name, ..cancellation.clone() },
            ("order", "SELECT COUNT(*) FROM orders WHERE state IN ('cancel-payment', 'cancel-stock', 'canceled')"),
        );
        vec![create_order, confirm_payment, cancel_order]
    }
}
